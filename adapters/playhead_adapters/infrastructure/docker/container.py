"""A runner in a container: watching, signalling and ending it, and what is proof of its end. Owns one container, and asks the engine.

The engine's word about a container that has ended is proof; that there is no such container, or no engine, is none.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

import anyio

from playhead.agent.infrastructure import Exit, Launched, LostSight
from playhead.errors import PlayheadError
from playhead_adapters.infrastructure.docker.blueprint import EPOCH, RUN
from playhead_adapters.infrastructure.docker.daemon import Daemon, DaemonRefused, DaemonUnreachable, Shown

LOOK_SECONDS: Final = 10.0  # between looks at a container of which the engine told nothing: what it tells may be lost
AWAY_SECONDS: Final = 1.0  # between looks while the engine does not answer
MAX_SIGNAL: Final = 64  # an exit code of 128 + n says that signal n ended it

_log = logging.getLogger("playhead.agent")


class Custodian(Protocol):
    """What a container needs of the infrastructure that launched it."""

    def persistently_signal(self, container: str, name: str) -> None:
        """Send it for as long as the engine does not answer; returns at once."""
        ...

    async def put_away(self, runner: ContainerRunner, *, keep_output: bool) -> None: ...


class ContainerRunner(Launched):
    def __init__(self, shown: Shown, daemon: Daemon, custodian: Custodian) -> None:
        labels = shown.get("Labels") or shown["Config"]["Labels"]
        self._run: str = labels[RUN]
        self._epoch = int(labels[EPOCH])
        self._daemon = daemon
        self._custodian = custodian
        self._end: Exit | LostSight | None = None
        self._news = anyio.Event()
        self.id: str = shown["Id"]
        self.output_path = ""

    @property
    def run(self) -> str:
        return self._run

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def output(self) -> str:
        return self.output_path or f"the container {self.id[:12]}"

    async def wait(self) -> Exit | LostSight:
        away = False
        while self._end is None:
            self._news = anyio.Event()  # before the look, so that what is told meanwhile is not missed
            pause = LOOK_SECONDS
            try:
                shown = await self._daemon.inspect(self.id)
            except DaemonUnreachable as error:
                if not away:
                    _log.warning("run %s: %s; its container is looked for until it does", self._run, error.message)
                away, pause = True, AWAY_SECONDS
            except DaemonRefused as error:
                if error.status == 404:
                    self._end = LostSight("the Docker engine does not know its container any more")
                pause = AWAY_SECONDS
            else:
                self._end = end_of(shown["State"])
                if away and self._end is not None:
                    _log.warning("run %s: its container ended while the Docker engine was away", self._run)
                away = False
            if self._end is None:
                with anyio.move_on_after(pause):
                    await self._news.wait()
        return self._end

    def look(self) -> None:
        """Something has happened to it, or may have: ask the engine now."""
        self._news.set()

    async def terminate(self) -> None:
        self._custodian.persistently_signal(self.id, "SIGTERM")

    async def kill(self) -> None:
        self._custodian.persistently_signal(self.id, "SIGKILL")

    async def forget(self, *, keep_output: bool) -> None:
        await self._custodian.put_away(self, keep_output=keep_output)


def end_of(state: Any) -> Exit | None:
    """What the engine says of a container's end; None: it has not ended. One that never began has no end of its own."""
    if state["Status"] not in ("exited", "dead"):
        return None
    code = int(state["ExitCode"])
    if state.get("OOMKilled"):
        return Exit(signal=9, out_of_memory=True)
    if 128 < code <= 128 + MAX_SIGNAL:
        return Exit(signal=code - 128)
    return Exit(exit_code=code)


async def signalled(daemon: Daemon, container: str, name: str) -> None:
    """Returns once the engine has sent it, or knows nothing at work to send it to."""
    while True:
        try:
            await daemon.signal(container, name)
        except DaemonUnreachable:
            await anyio.sleep(AWAY_SECONDS)
        except PlayheadError as error:
            _log.debug("%s was not sent: %s", name, error.message)
            return
        else:
            return
