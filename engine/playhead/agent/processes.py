"""The local infrastructure: each runner is a process in a session of its own. Owns which were launched, and finding them again.

A runner outlives its agent. It is given its order only after the record of its process is written, and one whose agent dies
before that reads the end of the pipe and ends: so a restarted agent finds every runner that ever worked.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from playhead.agent.folder import RunnerFolder, keep_within_bounds, runner_folders
from playhead.agent.infrastructure import Infrastructure, Launched
from playhead.agent.runner_process import AdoptedProcess, ChildProcess, RunnerProcess
from playhead.agent.starting import ColdStart, RunnerEnvironment, Starter, WarmStart
from playhead.errors import LaunchFailed
from playhead.failpoints import reach
from playhead.runner.bootstrap import RunnerOrder

RUNNER: Final = (sys.executable, "-m", "playhead.runner")

_log = logging.getLogger("playhead.agent")


class ProcessInfrastructure(Infrastructure):
    """Runners as processes beside the agent.

    `folder` is the agent's own and exists. `command` is started with `--order-fd N`, unless `zygote` is the command of a zygote that
    forks the same: while `warmed` lasts. `import_paths` come first among the places where a runner looks for modules, after its own
    empty folder: a flow that was sealed by module is imported from there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        command: Sequence[str] = RUNNER,
        zygote: Sequence[str] | None = None,
        import_paths: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._command = tuple(command)
        self._launched: dict[tuple[str, int], RunnerProcess] = {}
        self._one_launch = threading.Lock()
        theirs = RunnerEnvironment(os.environ if environment is None else environment, import_paths)
        cold = ColdStart(self._command, theirs)
        self._starter: Starter = WarmStart(zygote, theirs, folder, cold) if zygote else cold

    @property
    def kind(self) -> str:
        return "local"

    @asynccontextmanager
    async def warmed(self) -> AsyncGenerator[None]:
        """Runners start quickly within the block. Those that are left at its end go on, and their ends are still written down."""
        await to_thread.run_sync(self._starter.open)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._let_go)

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

    def _found(self, folder: RunnerFolder) -> RunnerProcess | None:
        """What an earlier life launched in this folder. One that was never given its order is no runner: it is cleared away."""
        record = folder.read_record()
        if record is None:
            folder.remove()
            return None
        child = ChildProcess.known(folder, record.process, self._drop)
        return child or AdoptedProcess(folder, record.process, self._drop)

    def _start(self, folder: RunnerFolder, order: RunnerOrder) -> RunnerProcess:
        """All or nothing. OSError: nothing of it is left but, perhaps, the folder."""
        folder.create()
        with ExitStack() as parts:
            reading, writing = os.pipe()
            parts.callback(os.close, writing)
            try:
                started = self._starter.start(folder, reading, self._drop)
            finally:
                os.close(reading)
            try:
                reach("runner.forked")
                folder.write_record(started.process)
                reach("runner.recorded")
                with suppress(BrokenPipeError):  # it has ended already: whoever waits for it learns how
                    order.to_pipe(writing)
                reach("order.written")
            except BaseException:
                started.undo()
                raise
        return started

    def _remember(self, launched: RunnerProcess) -> RunnerProcess:
        return self._launched.setdefault((launched.run, launched.epoch), launched)

    def _drop(self, launched: Launched) -> None:
        self._launched.pop((launched.run, launched.epoch), None)

    def _let_go(self) -> None:
        self._starter.close(runners_left=bool(self._launched))
        for launched in self._launched.values():
            launched.let_go()
