"""Signs of life that one server hands on to the others on its log. Owns what waits to be handed on, and how far it has read.

A sign is a key that was counted, of a runner's epoch or of an agent. It says nothing of when: whoever sees that it was counted takes
it for a sign at that moment, on its own clock, which is never earlier than the sign was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from playhead.core.names import Epoch, RunId
from playhead.errors import LogUnusable, PlayheadError
from playhead.ports.clock import Clock
from playhead.ports.store import SharedBackend

GATHER_SECONDS: Final = 0.1  # before what waits is handed on: ten requests a second at the most, however many are heard

_RUNNER: Final = "run/"
_AGENT: Final = "agent/"


@dataclass(frozen=True, slots=True)
class Heard:
    """Of whom there was a sign."""

    runners: tuple[tuple[RunId, Epoch], ...] = ()
    agents: tuple[str, ...] = ()


@dataclass(slots=True)
class _Batch:
    signs: set[str] = field(default_factory=set[str])
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Signs:
    """`run` is one task for as long as anything is handed on. Where `shared` is None nothing is, and nothing is read."""

    def __init__(self, shared: SharedBackend | None, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._next: _Batch | None = None
        self._wanted = asyncio.Event()
        self._upto: int | None = None  # of the counting
        self._ended = False

    async def of_runner(self, run: RunId, epoch: Epoch) -> None:
        """Return when whoever leads, now or later, can see it. Raises the log's errors: then the sign does not count."""
        if self._shared is not None:
            if self._ended:  # a request may outlive what works here
                raise _ending()
            await asyncio.shield(self._add(f"{_RUNNER}{run}/{epoch}").done)

    def of_agent(self, agent: str) -> None:
        """Hand it on some time soon; the agent's next sign makes up for one that is lost."""
        if self._shared is not None:
            self._add(f"{_AGENT}{agent}")

    async def run(self) -> None:
        """Hand on what waits, some of it at a time. Ends never; who waits is told of the log's errors."""
        try:
            self._ended = False
            while self._shared is not None:
                await self._wanted.wait()
                await self._clock.sleep(GATHER_SECONDS)
                await self._hand_on(self._shared)
        finally:
            self._ended = True
            if self._next is not None:
                _fail(self._next)
                self._next = None

    async def read(self) -> Heard:
        """Of whom any server has counted a sign since the last look.

        The first cannot tell: each runner ever counted has a full term then, as with any server that begins, and of agents nothing is
        known.
        """
        if self._shared is None:
            return Heard()
        counted = await self._shared.heard(after=self._upto or 0)
        first, self._upto = self._upto is None, counted.upto
        return _heard(sign for sign in counted.keys if not (first and sign.startswith(_AGENT)))

    def _add(self, sign: str) -> _Batch:
        if self._next is None:
            self._next = _Batch()
            self._wanted.set()
        self._next.signs.add(sign)
        return self._next

    async def _hand_on(self, shared: SharedBackend) -> None:
        batch, self._next = self._next, None
        self._wanted.clear()
        assert batch is not None, "something is wanted when there is a batch"
        try:
            await shared.hear(batch.signs)
        except PlayheadError as error:
            _fail(batch, error)
        except BaseException:
            _fail(batch)
            raise
        else:
            batch.done.set_result(None)


def _heard(signs: Iterable[str]) -> Heard:
    runners: list[tuple[RunId, Epoch]] = []
    agents: list[str] = []
    for sign in signs:
        if sign.startswith(_AGENT):
            agents.append(sign.removeprefix(_AGENT))
        elif sign.startswith(_RUNNER):
            run, _, epoch = sign.removeprefix(_RUNNER).partition("/")
            runners.append((RunId(run), Epoch(int(epoch))))
    return Heard(tuple(runners), tuple(agents))


def _fail(batch: _Batch, error: PlayheadError | None = None) -> None:
    batch.done.set_exception(error or _ending())
    batch.done.exception()  # nobody need be waiting


def _ending() -> PlayheadError:
    return LogUnusable("the server is ending", hint="ask again")
