"""What an open SQLite log holds: lock, writing connection, readers, mark. Made, used and closed in the writer's thread; no SQL here."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.failpoints import reach
from playhead.log.kept import check_restore
from playhead.log.ranges import Range
from playhead.log.sqlite.file import (
    WriterLock,
    open_writer,
    read_aside,
    read_history,
    read_log,
    write_aside,
    write_history,
)
from playhead.log.sqlite.mark import Mark, MarkFile, Reached, log_id
from playhead.log.sqlite.readers import Readers
from playhead.log.sqlite.writer import Writer
from playhead.ports.store import Append, Kept, Outcome

_LATER_HISTORY: Final = re.compile(r"(?P<log>.+)\.(?P<history>[1-9][0-9]{0,9})")  # as `mark.log_id` writes it


class Held:
    def __init__(self, path: Path, busy_seconds: float, max_bytes: int | None) -> None:
        self._lock = WriterLock(path)
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._mark_file: MarkFile | None = None
        try:
            mark = Mark.read(path)
            self._connection = open_writer(path, busy_seconds=busy_seconds, max_bytes=max_bytes, mark=mark)
            self._log = read_log(path, self._connection)
            self._history = read_history(path, self._connection)
            self.writer = Writer(path, self._connection)
            self.head = self.writer.head()
            self.restored = self._forgotten(mark)
            self.log_id = log_id(self._log, self._history)
            self._mark_file = MarkFile(path)
            self.readers = Readers(path, busy_seconds=busy_seconds)
        except BaseException:
            self.close_writer()
            raise

    def _forgotten(self, mark: Mark | None) -> Position | None:
        """How far the log had come once, if it is an older copy of itself: then what is written from now on is another history."""
        assert self._connection is not None
        ours = mark if mark is not None and mark.log == self._log else None
        aside = read_aside(self._path, self._connection)
        if not aside and (ours is None or ours.reached <= Reached(self._history, self.head)):
            return None
        reached = max(ours.reached if ours is not None else Reached(1, self.head), Reached(self._history, self.head))
        self._history = reached.history + 1
        return reached.position

    def accept_restored(self) -> None:
        """Durable: the next opening finds nothing amiss. Until then it finds the same, and gives the new history the same id."""
        if self.restored is not None:
            assert self._connection is not None
            write_history(self._path, self._connection, self._history)
            self.restored = None
            self._note(self.writer.head())

    def set_aside(self) -> None:
        """Durable: whoever opens this file later as a log begins another history."""
        assert self._connection is not None
        write_aside(self._path, self._connection)

    def shrink(self) -> None:
        self.writer.shrink()

    def write(self, batch: Sequence[Append]) -> tuple[list[Outcome], Position]:
        """The outcomes, and the head behind them."""
        reach("log.committing")
        outcomes = self.writer.write(batch)
        head = self.writer.head()
        self._note(head)
        reach("log.committed")
        return outcomes, head

    def forget(self, stream: StreamName, upto: Version) -> int:
        return self.writer.forget(stream, upto)

    def restore(self, whole: LogId, kept: Sequence[Kept], forgotten: Sequence[Range]) -> Position:
        """The head behind what was taken over."""
        check_restore(self.log_id, self.writer.head(), whole, kept, forgotten)
        later = _LATER_HISTORY.fullmatch(whole)
        log, history = (later["log"], int(later["history"])) if later is not None else (whole, 1)
        self.writer.restore(kept, forgotten, {"log_id": log, "history": str(history)})
        self._log, self._history, self.log_id = log, history, whole
        head = self.writer.head()
        self._note(head)
        return head

    def _note(self, head: Position) -> None:
        if self._mark_file is not None and self.restored is None:
            self._mark_file.write(self._log, Reached(self._history, head))

    def close(self) -> None:
        """Where nothing is under way."""
        self.readers.close_now()
        self.close_writer()

    def close_writer(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._mark_file is not None:
            self._mark_file.close()
        self._lock.release()
