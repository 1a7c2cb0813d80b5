"""A runner's process, however it was started: watching, signalling and ending it, and what is proof of its end.

A fresh interpreter is the agent's own child, a fork is its zygote's, and what an earlier life of the agent started is nobody's here.
The rest of the process group is killed before an end is told.
"""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import anyio
from anyio import to_thread

from playhead.agent import proc
from playhead.agent.folder import RunnerFolder
from playhead.agent.infrastructure import Exit, Launched, LostSight
from playhead.zygote.ending import MAX_BYTES, Ending
from playhead.zygote.kernel import is_zombie
from playhead.zygote.messages import MARKER

ENDING_SECONDS: Final = 1.0  # for a zygote to write down an end, which takes it a millisecond
LOOKS_FOR_ENDING: Final = 100  # in that time

Dropped = Callable[[Launched], None]

# Children of this process that were not reaped, whichever agent started them: a process has its children, not an object. So an
# agent that is started again in the same process still learns how they ended, and none is left a zombie by being forgotten.
_children: Final[dict[int, subprocess.Popen[bytes]]] = {}


class RunnerProcess(Launched, ABC):
    """What all have in common. `dropped` is called once it has been forgotten."""

    def __init__(self, folder: RunnerFolder, process: proc.ProcessName, dropped: Dropped) -> None:
        self._folder = folder
        self._dropped = dropped
        self.process = process

    @property
    def run(self) -> str:
        return self._folder.run

    @property
    def epoch(self) -> int:
        return self._folder.epoch

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return str(self._folder.kept)

    async def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def forget(self, *, keep_output: bool) -> None:
        await to_thread.run_sync(self._folder.keep if keep_output else self._folder.remove)
        self._dropped(self)

    def let_go(self) -> None:
        """The agent ends, and this runner goes on: hold nothing for it any longer. Its next life finds it by its folder."""

    @abstractmethod
    def _signal(self, number: signal.Signals) -> None:
        """Send it to the runner and its group, if it is still that runner."""


class StartedProcess(RunnerProcess):
    """One that was started by this life of the agent."""

    @abstractmethod
    def undo(self) -> None:
        """Make it end, and return when it has: it was not given its order."""


class ChildProcess(StartedProcess):
    """A fresh interpreter. Until it is reaped, its pid and its group's id cannot become another's."""

    def __init__(self, folder: RunnerFolder, popen: subprocess.Popen[bytes], dropped: Dropped) -> None:
        super().__init__(folder, proc.ProcessName.of(popen.pid), dropped)
        self._popen = popen
        _children[popen.pid] = popen

    @classmethod
    def known(cls, folder: RunnerFolder, process: proc.ProcessName, dropped: Dropped) -> ChildProcess | None:
        """The child of that name, if an earlier agent of this very program has started it."""
        popen = _children.get(process.pid)
        if popen is None or proc.ProcessName.of(process.pid) != process:
            return None
        return cls(folder, popen, dropped)

    async def wait(self) -> Exit | LostSight:
        if self._popen.returncode is None:
            await proc.child_ended(self.pid)
        code = self._reap()
        return Exit(exit_code=code) if code >= 0 else Exit(signal=-code)

    def undo(self) -> None:
        self._reap()

    def _reap(self) -> int:
        """Kill what is left of its group, then take its status: in this order, while its pid is still its own."""
        if self._popen.returncode is None:
            proc.signal_group(self.pid, signal.SIGKILL)
            self._popen.wait()
            _children.pop(self.pid, None)
        return self._popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._popen.returncode is None:
            proc.signal_group(self.pid, number)


class AdoptedProcess(RunnerProcess):
    """A runner whose parent is not this process. How it ended is known if its parent is a zygote, which writes it down."""

    def __init__(self, folder: RunnerFolder, process: proc.ProcessName, dropped: Dropped) -> None:
        super().__init__(folder, process, dropped)
        self._end: Exit | LostSight | None = None

    async def wait(self) -> Exit | LostSight:
        if self._end is None:
            sight = proc.look(self.process)
            if isinstance(sight, proc.CannotTell):
                self._end = LostSight(sight.why)
                return self._end
            if isinstance(sight, int):
                try:
                    await anyio.wait_readable(sight)
                finally:
                    os.close(sight)
            ending = await self._written_down()
            self._end = self._ended(ending)
        return self._end

    async def _written_down(self) -> Ending | None:
        """How it ended, of which a zygote has taken note before it reaps: so there is nothing to wait for once it is reaped."""
        for _ in range(LOOKS_FOR_ENDING):
            reaped = not is_zombie(self.pid)
            ending = Ending.read(str(self._folder.path))
            if ending is not None or reaped:
                return ending
            await anyio.sleep(ENDING_SECONDS / LOOKS_FOR_ENDING)
        return None

    def _ended(self, ending: Ending | None) -> Exit:
        if ending is None:  # nobody has killed its group
            proc.kill_session(self.pid, f"{MARKER}={self._folder.marker}")
            return Exit()
        return Exit(exit_code=ending.exit_code, signal=ending.signal)

    def _signal(self, number: signal.Signals) -> None:
        sight = proc.look(self.process)
        if isinstance(sight, int):
            proc.signal_group(self.pid, number)
            os.close(sight)


class ForkedProcess(AdoptedProcess, StartedProcess):
    """A fork of this agent's zygote, which tells of its end through the pipe `ending`. It is adopted if the zygote dies first."""

    def __init__(self, folder: RunnerFolder, process: proc.ProcessName, dropped: Dropped, ending: int) -> None:
        super().__init__(folder, process, dropped)
        self._ending: int | None = ending
        self._one_listens = anyio.Lock()

    async def wait(self) -> Exit | LostSight:
        async with self._one_listens:
            if self._ending is not None:
                await anyio.wait_readable(self._ending)
                self._hear()
        return await super().wait()

    def undo(self) -> None:
        self._signal(signal.SIGKILL)
        self._hear()

    def let_go(self) -> None:
        ending, self._ending = self._ending, None
        if ending is not None:
            os.close(ending)

    def _hear(self) -> None:
        """What the zygote says of the end; nothing if it is gone."""
        assert self._ending is not None
        told = Ending.from_bytes(os.read(self._ending, MAX_BYTES))
        self.let_go()
        if told is not None:
            self._end = self._ended(told)
