"""The local infrastructure: each runner is a process in a session of its own. Owns starting, watching and ending it.

A runner outlives its agent. It is given its order only after the record of its process is written, and one whose agent dies
before that reads the end of the pipe and ends: so a restarted agent finds every runner that ever worked.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from playhead.agent import proc
from playhead.agent.folder import RunnerFolder, keep_within_bounds, runner_folders
from playhead.agent.infrastructure import Exit, Infrastructure, Launched, LostSight
from playhead.errors import LaunchFailed
from playhead.runner.bootstrap import RunnerOrder
from playhead.trust.keys import KEY_VARIABLE

RUNNER: Final = (sys.executable, "-m", "playhead.runner")

# Children of this process that were not reaped, whichever agent started them: a process has its children, not an object. So an
# agent that is started again in the same process still learns how they ended, and none is left a zombie by being forgotten.
_children: Final[dict[int, subprocess.Popen[bytes]]] = {}

_log = logging.getLogger("playhead.agent")


class ProcessInfrastructure(Infrastructure):
    """Runners as processes beside the agent.

    `folder` is the agent's own and exists. `command` is started with `--order-fd N`. `import_paths` come first among the places
    where a runner looks for modules, after its own empty folder: a flow that was sealed by module is imported from there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        command: Sequence[str] = RUNNER,
        import_paths: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._command = tuple(command)
        self._import_paths = tuple(import_paths)
        self._environment = dict(os.environ if environment is None else environment)
        self._launched: dict[tuple[str, int], Launched] = {}
        self._one_launch = threading.Lock()

    @property
    def kind(self) -> str:
        return "local"

    async def launch(self, order: RunnerOrder) -> Launched:
        # Shielded by run_sync: a launch that began is either whole or undone before a cancellation is seen.
        return await to_thread.run_sync(self._launch, order)

    async def survivors(self) -> Sequence[Launched]:
        return await to_thread.run_sync(self._survivors)

    async def tend(self) -> None:
        try:
            await to_thread.run_sync(keep_within_bounds, self._folder)
        except OSError as error:
            _log.warning("cannot tidy up %s: %s", self._folder, error.strerror)

    def _launch(self, order: RunnerOrder) -> Launched:
        folder = RunnerFolder.of(self._folder, order.run, order.epoch)
        with self._one_launch:
            known = self._launched.get((order.run, order.epoch)) or self._found(folder)
            try:
                launched = known or self._start(folder, order)
            except OSError as error:
                folder.remove()
                what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
                raise LaunchFailed(
                    f"cannot launch a runner for run {order.run} in {self._folder}: {what}",
                    hint=f"see that the folder can be written and that {self._command[0]} can be started",
                ) from error
            return self._remember(launched)

    def _survivors(self) -> list[Launched]:
        with self._one_launch:
            found = [self._found(folder) for folder in runner_folders(self._folder)]
            return [self._remember(launched) for launched in found if launched is not None]

    def _found(self, folder: RunnerFolder) -> Launched | None:
        """What an earlier life launched in this folder. One that was never given its order is no runner: it is cleared away."""
        record = folder.read_record()
        if record is None:
            folder.remove()
            return None
        child = _children.get(record.pid)
        if child is not None and proc.ProcessName.of(record.pid) == record.process:
            return ChildProcess(folder, child, self._drop)
        return AdoptedProcess(folder, record.process, self._drop)

    def _start(self, folder: RunnerFolder, order: RunnerOrder) -> Launched:
        """All or nothing. OSError: nothing of it is left but, perhaps, the folder."""
        folder.create()
        with ExitStack() as parts:
            reading, writing = os.pipe()
            parts.callback(os.close, writing)
            with ExitStack() as given:
                given.callback(os.close, reading)
                popen = self._spawn(folder, reading, given)
            try:
                folder.write_record(proc.ProcessName.of(popen.pid))
                with suppress(BrokenPipeError):  # it has ended already: whoever waits for it learns how
                    order.to_pipe(writing)
            except BaseException:
                _reap(popen)
                raise
        _children[popen.pid] = popen
        return ChildProcess(folder, popen, self._drop)

    def _spawn(self, folder: RunnerFolder, order_fd: int, given: ExitStack) -> subprocess.Popen[bytes]:
        outputs = [folder.open_output(name) for name in ("stdout", "stderr")]
        for fd in outputs:
            given.callback(os.close, fd)
        return subprocess.Popen(
            (*self._command, "--order-fd", str(order_fd)),
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            cwd=folder.path,
            env=self._runner_environment(folder),
            pass_fds=(order_fd,),
            start_new_session=True,
        )

    def _runner_environment(self, folder: RunnerFolder) -> dict[str, str]:
        """The agent's, without the master key; equal hashes in every runner of a run (DURABILITY 4)."""
        environment = {name: value for name, value in self._environment.items() if name != KEY_VARIABLE}
        marker, _, value = folder.marker.partition("=")
        paths = (*map(str, self._import_paths), environment.get("PYTHONPATH", ""))
        return environment | {
            marker: value,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }

    def _remember(self, launched: Launched) -> Launched:
        return self._launched.setdefault((launched.run, launched.epoch), launched)

    def _drop(self, launched: Launched) -> None:
        self._launched.pop((launched.run, launched.epoch), None)


class _Process(Launched, ABC):
    """What a child and an adopted process have in common. `dropped` is called once it has been forgotten."""

    def __init__(self, folder: RunnerFolder, pid: int, dropped: Callable[[Launched], None]) -> None:
        self._folder = folder
        self._dropped = dropped
        self.pid = pid

    @property
    def run(self) -> str:
        return self._folder.run

    @property
    def epoch(self) -> int:
        return self._folder.epoch

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

    @abstractmethod
    def _signal(self, number: signal.Signals) -> None:
        """Send it to the runner, if it is still that runner."""


class ChildProcess(_Process):
    """A runner that this agent started. Until it is reaped, its pid and its group's id cannot become another's."""

    def __init__(
        self, folder: RunnerFolder, popen: subprocess.Popen[bytes], dropped: Callable[[Launched], None]
    ) -> None:
        super().__init__(folder, popen.pid, dropped)
        self._popen = popen

    async def wait(self) -> Exit | LostSight:
        if self._popen.returncode is None:
            await proc.child_ended(self.pid)
        code = _reap(self._popen)
        return Exit(exit_code=code) if code >= 0 else Exit(signal=-code)

    def _signal(self, number: signal.Signals) -> None:
        if self._popen.returncode is None:
            proc.signal_group(self.pid, number)


class AdoptedProcess(_Process):
    """A runner that an earlier life of this agent started. Whoever inherited it took its exit status: its end has no code."""

    def __init__(self, folder: RunnerFolder, process: proc.ProcessName, dropped: Callable[[Launched], None]) -> None:
        super().__init__(folder, process.pid, dropped)
        self._process = process
        self._end: Exit | LostSight | None = None

    async def wait(self) -> Exit | LostSight:
        if self._end is None:
            sight = proc.look(self._process)
            if isinstance(sight, proc.CannotTell):
                self._end = LostSight(sight.why)
                return self._end
            if isinstance(sight, int):
                try:
                    await anyio.wait_readable(sight)
                finally:
                    os.close(sight)
        if self._end is None:
            proc.kill_session(self.pid, self._folder.marker)
            self._end = Exit()
        return self._end

    def _signal(self, number: signal.Signals) -> None:
        sight = proc.look(self._process)
        if isinstance(sight, int):
            proc.signal_group(self.pid, number)
            os.close(sight)


def _reap(popen: subprocess.Popen[bytes]) -> int:
    """Kill what is left of the child's group, then take its status: in this order, while its pid is still its own."""
    if popen.returncode is None:
        proc.signal_group(popen.pid, signal.SIGKILL)
        popen.wait()
        _children.pop(popen.pid, None)
    return popen.wait()
