"""The runs that an agent may claim, oldest first. Owns their order, their number, and the rest of those that failed here.

A run that is on the list may long be another's: the claim decides. The list is bounded; what it had no room for is asked for again
when it runs empty.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import anyio

from playhead.agent.pace import MAX_READY, MAX_TROUBLED, Pace


class Ready(NamedTuple):
    """A run, and the epoch at which it became ready: the newest that its log had given."""

    run: str
    epoch: int


class ReadyRuns:
    """Filled by whoever follows the server, emptied by whoever claims."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._ready: dict[str, int] = {}  # run → epoch
        self._resting: dict[str, tuple[float, int]] = {}  # run → when it may be claimed again, and its epoch
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._never: OrderedDict[str, None] = OrderedDict()
        self._overflowed = False
        self._changed = anyio.Event()
        self._emptied = anyio.Event()
        self._asked_for_more = anyio.Event()

    @property
    def empty(self) -> bool:
        """Nothing is on the list, and nothing rests."""
        return not self._ready and not self._resting

    def offer(self, run: str, epoch: int = 0) -> None:
        """The run is ready, and fits."""
        if run in self._ready or run in self._resting or run in self._never:
            return
        if len(self._ready) + len(self._resting) >= MAX_READY:
            self._overflowed = True
            return
        rest = self._pace.rest(self._failures.get(run, 0))
        if rest > 0:
            self._resting[run] = anyio.current_time() + rest, epoch
        else:
            self._ready[run] = epoch
        self._changed.set()

    def withdraw(self, run: str) -> None:
        """The run is no longer ready, or another agent has it."""
        self._ready.pop(run, None)
        self._resting.pop(run, None)
        self._note_emptied()

    async def take(self) -> Ready:
        """The run that has waited longest, as soon as there is one."""
        while True:
            self._wake()
            if self._ready:
                run = next(iter(self._ready))
                ready = Ready(run, self._ready.pop(run))
                self._note_emptied()
                return ready
            if self._overflowed:
                self._overflowed = False
                self._asked_for_more.set()
            self._changed = anyio.Event()
            wait = min((until for until, _ in self._resting.values()), default=float("inf")) - anyio.current_time()
            with anyio.move_on_after(wait if self._resting else None):
                await self._changed.wait()

    def failed(self, run: str) -> None:
        """The run's runner did not begin, or did not end well, here. From the second time on it rests before it is taken again."""
        self._failures[run] = self._failures.pop(run, 0) + 1
        while len(self._failures) > MAX_TROUBLED:
            self._failures.popitem(last=False)

    def never(self, run: str) -> None:
        """The run is not taken here, however often it is offered: by rules that stay as they are while the agent lives."""
        self._never[run] = None
        while len(self._never) > MAX_TROUBLED:
            self._never.popitem(last=False)

    def ended(self, run: str) -> None:
        """The run has ended for good."""
        self.withdraw(run)
        self._never.pop(run, None)
        self._failures.pop(run, None)

    async def until_empty(self) -> None:
        """Return when the list is empty; what it had no room for is then asked for again."""
        while not self.empty:
            self._emptied = anyio.Event()
            await self._emptied.wait()

    async def wanting_more(self) -> None:
        """Return when the list ran empty after it had no room for a run."""
        await self._asked_for_more.wait()
        self._asked_for_more = anyio.Event()

    def _note_emptied(self) -> None:
        if self.empty:
            self._emptied.set()

    def _wake(self) -> None:
        now = anyio.current_time()
        for run in [run for run, (until, _) in self._resting.items() if until <= now]:
            _, self._ready[run] = self._resting.pop(run)
