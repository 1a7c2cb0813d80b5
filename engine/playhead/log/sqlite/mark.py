"""The log's mark: how far a log has come, told in a file beside it. Owns that file, and what it says of a log that is opened later.

A log that is copied back from a backup does not know what it has forgotten: its ids are the same, and its positions will be given
again. The mark stays where it is when only `log.db` is put back, and so runs ahead of it. It is written after each commit and not
flushed: a crash of the process loses nothing of it, and a loss of power makes it lag, which hides a restore and never invents one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from playhead.core.names import LogId, Position


@dataclass(frozen=True, slots=True, order=True)
class Reached:
    """How far one history has come. The first is 1; each restore begins the next, from wherever the copy ends."""

    history: int
    position: Position


@dataclass(frozen=True, slots=True)
class Mark:
    """What the file says: which log it is of, as that was created, and how far it has come."""

    log: str
    reached: Reached

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None: there is no file, or none that says anything, so that nothing is known."""
        try:
            words = file_of(path).read_text("ascii", "replace").split()
        except OSError:
            return None
        if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()):
            return None
        return cls(words[0], Reached(int(words[1]), Position(int(words[2]))))


class MarkFile:
    """The file of an open log, for its one writer. What cannot be written is left: the log is the truth, and this a warning."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        with suppress(OSError):
            self._descriptor = os.open(file_of(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, log: str, reached: Reached) -> None:
        if self._descriptor is not None:
            line = f"{log} {reached.history} {reached.position:020}\n"  # of one length, so that none is left behind another
            with suppress(OSError):
                os.pwrite(self._descriptor, line.encode("ascii"), 0)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def file_of(path: Path) -> Path:
    """The mark of the log at `path`."""
    return path.with_name(path.name + ".mark")


def log_id(log: str, history: int) -> LogId:
    """The id of one history of a log: cursors of another one are refused, however well their positions fit."""
    return LogId(log if history == 1 else f"{log}.{history}")
