"""A runner's folder: where a local runner works, what it printed, and which process it is. Owns the files and their bounds.

    <home>/agents/<agent>/<run>-<epoch>/    process.json  stdout  stderr  (stdout.1  stderr.1)  exit, from its zygote
    <home>/agents/<agent>/ended/…           the same, of the newest runners that did not end well

Nothing here needs to survive a loss of power: then the runner is gone as well.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playhead.agent.proc import ProcessName
from playhead.core.events import Ordinal
from playhead.core.names import RunIdField

# Of each file: enough for a crash's last words, and logs go to storage anyway
MAX_OUTPUT_BYTES: Final = 4 * 1024 * 1024
MAX_ENDED: Final = 50  # folders of runners that did not end well, kept for their reader: at most 800 MB with the above

_NAME = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,9})")
_PROCESS: Final = "process.json"
OUTPUTS: Final = ("stdout", "stderr")
_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600


class ProcessRecord(BaseModel):
    """What a restarted agent reads of a runner that it launched in an earlier life."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Annotated[int, Field(ge=1, le=1)] = 1
    run: RunIdField
    epoch: Ordinal
    pid: Annotated[int, Field(ge=1)]
    started: int | None
    place: str | None

    @property
    def process(self) -> ProcessName:
        return ProcessName(self.pid, self.started, self.place)


@dataclass(frozen=True, slots=True)
class RunnerFolder:
    """The folder of one (run, epoch). Methods that touch the disk raise OSError as the system does."""

    path: Path
    run: str
    epoch: int

    @classmethod
    def of(cls, agent_folder: Path, run: str, epoch: int) -> RunnerFolder:
        return cls(agent_folder / f"{run}-{epoch}", run, epoch)

    @property
    def marker(self) -> str:
        """The value of PLAYHEAD_RUNNER in the environment of the runner and of what it starts."""
        return f"{self.run}-{self.epoch}"

    @property
    def kept(self) -> Path:
        """Where it lies after `keep`."""
        return self.path.parent / "ended" / self.path.name

    def create(self) -> None:
        """FileExistsError: there is one already."""
        self.path.mkdir(mode=_PRIVATE_FOLDER)

    def open_output(self, name: str, until: ExitStack) -> int:
        """A descriptor that appends, so that the file may be cut while the runner writes. It is open until then."""
        fd = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _PRIVATE_FILE)
        until.callback(os.close, fd)
        return fd

    def write_record(self, process: ProcessName) -> None:
        """After this a restarted agent finds the process."""
        record = ProcessRecord(
            run=self.run, epoch=self.epoch, pid=process.pid, started=process.started, place=process.place
        )
        unfinished = self.path / f"{_PROCESS}+"
        unfinished.write_text(record.model_dump_json())
        unfinished.replace(self.path / _PROCESS)

    def read_record(self) -> ProcessRecord | None:
        """None: no runner of this folder was ever given its order."""
        try:
            return ProcessRecord.model_validate_json((self.path / _PROCESS).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def keep(self) -> None:
        """Put it beside the others whose output is kept, or remove it where that cannot be done."""
        try:
            self.kept.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
            self.path.rename(self.kept)
        except OSError:
            self.remove()


def runner_folders(agent_folder: Path) -> Iterator[RunnerFolder]:
    """The folders of runners that did not end, or whose end was not reported."""
    for path in sorted(agent_folder.iterdir()):
        if match := _NAME.fullmatch(path.name):
            yield RunnerFolder(path, match[1], int(match[2]))


def keep_within_bounds(agent_folder: Path) -> None:
    """Cut what grew too long, and remove the oldest of what is kept."""
    for folder in runner_folders(agent_folder):
        for name in OUTPUTS:
            _cut(folder.path / name)
    ended = agent_folder / "ended"
    if ended.is_dir():
        newest_first = sorted(ended.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest_first[MAX_ENDED:]:
            shutil.rmtree(path, ignore_errors=True)


def _cut(path: Path) -> None:
    """Move a file's bytes aside once there are too many. What is written between copy and cut is lost."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > MAX_OUTPUT_BYTES:
            shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)
