"""Starting the process of a runner: by a fork of a zygote where that can be had, else as a fresh interpreter. Owns which of them.

Either way the process has its folder, environment and output, and waits at the end of a pipe for its order.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from playhead.agent.folder import OUTPUTS, RunnerFolder
from playhead.agent.proc import ProcessName
from playhead.agent.runner_process import ChildProcess, Dropped, ForkedProcess, StartedProcess
from playhead.settings import SECRET_VARIABLES
from playhead.zygote.handle import ZygoteLost, ZygoteProcess, can_be
from playhead.zygote.messages import MARKER, Launch

_log = logging.getLogger("playhead.agent")


class RunnerEnvironment:
    """The environment of runners: the agent's, without master key and token; equal hashes in every runner of a run (DURABILITY 4)."""

    def __init__(self, environment: Mapping[str, str], import_paths: Sequence[Path]) -> None:
        self.import_paths = [str(path) for path in import_paths]
        self.given = {name: value for name, value in environment.items() if name not in SECRET_VARIABLES}
        self.given["PYTHONHASHSEED"] = "0"
        paths = (*self.import_paths, self.given.get("PYTHONPATH", ""))
        self.added = {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def of(self, folder: RunnerFolder) -> dict[str, str]:
        return {**self.given, **self.added, MARKER: folder.marker}


class Starter(Protocol):
    """Starts runners' processes, one at a time."""

    def open(self) -> None:
        """Get ready to. Returns at once."""
        ...

    def start(self, folder: RunnerFolder, order_fd: int, dropped: Dropped) -> StartedProcess:
        """A process that reads its order from `order_fd`, which stays the caller's. OSError: there is none."""
        ...

    def close(self, *, runners_left: bool) -> None:
        """Start no more. What was started goes on."""
        ...


class ColdStart:
    """Fresh interpreters: `command` with `--order-fd N`."""

    def __init__(self, command: Sequence[str], environment: RunnerEnvironment) -> None:
        self._command = tuple(command)
        self._environment = environment

    def open(self) -> None:
        """There is nothing to be had ready."""

    def close(self, *, runners_left: bool) -> None:
        """Nor to be let go."""

    def start(self, folder: RunnerFolder, order_fd: int, dropped: Dropped) -> StartedProcess:
        with ExitStack() as given:
            stdout, stderr = (folder.open_output(name, given) for name in OUTPUTS)
            popen = subprocess.Popen(
                (*self._command, "--order-fd", str(order_fd)),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder.path,
                env=self._environment.of(folder),
                pass_fds=(order_fd,),
                start_new_session=True,
            )
        return ChildProcess(folder, popen, dropped)


class WarmStart:
    """Forks of a zygote. One that is lost is replaced; where its successor is no good either, fresh interpreters from then on."""

    def __init__(
        self, command: Sequence[str], environment: RunnerEnvironment, folder: Path, otherwise: ColdStart
    ) -> None:
        self._command = tuple(command)
        self._environment = environment
        self._folder = folder
        self._otherwise = otherwise
        self._zygote: ZygoteProcess | None = None

    def open(self) -> None:
        if not can_be():
            return
        try:
            self._zygote = ZygoteProcess(self._command, environment=self._environment.given, folder=self._folder)
        except OSError as error:
            _log.warning("no zygote can be started (%s); each runner is a fresh interpreter", error.strerror)

    def close(self, *, runners_left: bool) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.let_go(runners_left=runners_left)

    def start(self, folder: RunnerFolder, order_fd: int, dropped: Dropped) -> StartedProcess:
        for what_follows in ("another is started", "each runner is a fresh interpreter from now on"):
            if self._zygote is None:
                break
            try:
                return self._fork(self._zygote, folder, order_fd, dropped)
            except ZygoteLost as lost:
                _log.warning("the zygote %d makes no runner: %s; %s", self._zygote.pid, lost.message, what_follows)
            self.close(runners_left=True)
            if what_follows == "another is started":
                self.open()
        return self._otherwise.start(folder, order_fd, dropped)

    def _fork(self, zygote: ZygoteProcess, folder: RunnerFolder, order_fd: int, dropped: Dropped) -> StartedProcess:
        launch = Launch(
            folder=str(folder.path),
            marker=folder.marker,
            environment=self._environment.added,
            import_paths=self._environment.import_paths,
        )
        with ExitStack() as kept, ExitStack() as given:
            stdout, stderr = (folder.open_output(name, given) for name in OUTPUTS)
            hears, tells = os.pipe()
            kept.callback(os.close, hears)
            given.callback(os.close, tells)
            forked = zygote.runner(launch, (order_fd, stdout, stderr, tells))
            kept.pop_all()
        return ForkedProcess(folder, ProcessName.started_at(forked.pid, forked.started), dropped, hears)
