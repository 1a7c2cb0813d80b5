"""The one writer of a SQLite log: a batch of appends becomes one transaction. Synchronous; lives in one thread.

Knows what it has written last (heads, numbers of names) without asking the file again. A transaction that fails drops
all of that, and so does a change by somebody else, which `PRAGMA data_version` tells inside the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final, cast

from playhead.core.names import Position, StreamName, Version
from playhead.errors import OutcomeUnknown, UsageError
from playhead.log.appends import encode, fits, same_body
from playhead.log.chain import FIRST, digest, link
from playhead.log.ranges import Range
from playhead.log.sqlite import forgetting, statements
from playhead.log.sqlite.faults import primary_code, told, unusable
from playhead.log.sqlite.rows import packed
from playhead.ports.store import Append, Appended, Conflict, Duplicate, Kept, Outcome

# Streams and actors whose numbers and heads are remembered, about 10 MB; then from scratch
CACHED_NAMES: Final = 50_000

ROWS_AT_ONCE: Final = (50, 10, 1)  # in one statement, which gives the interpreter lock away once; each is prepared once

COLUMNS: Final = 11  # of a row

_NONE: Final = -1  # of an epoch or a record's number: see `insert_append`

# Bytes as a bytearray, for the reason that `rows.packed` tells.
_Value = int | str | bytearray | None


class Writer:
    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._db = connection
        self._numbers: dict[str, int] = {}
        self._heads: dict[StreamName, Version] = {}
        self._head: Position | None = None
        self._link: bytes | None = None  # of the newest append
        self._data_version: int | None = None

    def write(self, batch: Sequence[Append]) -> list[Outcome]:
        """One outcome for each append, durable on return. LogUnusable: nothing was written. OutcomeUnknown: ask again."""
        bodies = [encode(append) for append in batch]  # before the transaction: a bad one leaves nothing behind
        try:
            with self._transaction():
                return self._append_together(batch, bodies)
        except sqlite3.IntegrityError:  # one of them may be in the log already, which one at a time tells
            with told(self._path), self._transaction():
                return [self._append(append, body) for append, body in zip(batch, bodies, strict=True)]

    def head(self) -> Position:
        """The greatest position ever given."""
        if self._head is None:
            with told(self._path):
                row = self._db.execute(statements.HEAD).fetchone()
            self._head = Position(row[0] if row else 0)
        return self._head

    def forget(self, stream: StreamName, upto: Version) -> int:
        """Remove the stream's events up to that version, durably; how many there were."""
        with told(self._path), self._transaction():
            return forgetting.remove(self._db, stream, self._find_number(stream), upto)

    def restore(self, kept: Sequence[Kept], forgotten: Sequence[Range], meta: Mapping[str, str]) -> None:
        """Take over what another log has, as it is there, and what is to be known of the file as a whole."""
        ends = [each.last for each in kept] + [last for _, last, _ in forgotten]
        bodies = [encode(each.append) for each in kept]
        try:
            with self._transaction():
                rows = (
                    self._row(each.append, body, each.last, each.version, each.link)
                    for each, body in zip(kept, bodies, strict=True)
                )
                self._insert([*chain.from_iterable(rows)])
                forgetting.keep_ranges(self._db, forgotten)
                self._db.execute(statements.BEGIN_HEAD)
                self._db.execute(statements.SET_HEAD, (max(ends, default=0),))
                self._db.executemany(statements.SET_META, meta.items())
        except sqlite3.IntegrityError as error:
            raise UsageError(
                f"an append between positions {min(ends)} and {max(ends)} has an id or a version that its stream has already",
                hint="the log that it comes from breaks its contract: try `playhead store verify` there",
            ) from error
        self._forget()

    def shrink(self) -> None:
        with told(self._path):
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _append_together(self, batch: Sequence[Append], bodies: Sequence[bytes]) -> list[Outcome]:
        """All that fits goes in by a few statements of many rows, without a look for its id: the index on ids refuses one that is
        there already, and then nothing was written. That is rare, and saves half of an append's cost.
        """
        outcomes: list[Outcome] = []
        values: list[_Value] = []  # of all rows, one after another
        misfits: list[tuple[int, Position]] = []  # their place in the batch, and the head when it was their turn
        heads, head, chained = self._heads, self.head(), self._last_link()
        for append, body in zip(batch, bodies, strict=True):
            actual = heads.get(append.stream)
            if actual is None:
                actual = self._version(append.stream, self._find_number(append.stream))
            if append.expected != actual and not fits(append.expected, actual):
                misfits.append((len(outcomes), head))
                outcomes.append(Conflict(actual))
                continue
            first, count = cast(Position, head + 1), len(append.events)
            head, version = cast(Position, head + count), cast(Version, actual + count)
            chained = link(chained, digest(append, body), last=head, version=version)
            values += self._row(append, body, head, version, chained)
            heads[append.stream] = version
            outcomes.append(Appended(first, head, version))
        self._insert(values)
        self._head, self._link = head, chained
        for place, known in self._find_misfits(batch, bodies, misfits):
            outcomes[place] = known
        return outcomes

    def _find_misfits(
        self, batch: Sequence[Append], bodies: Sequence[bytes], misfits: Sequence[tuple[int, Position]]
    ) -> Iterator[tuple[int, Duplicate]]:
        """Those that were in the log before their turn; behind it in the batch the same append may stand again, and fit there."""
        for place, head in misfits:
            known = self._find_known(batch[place], bodies[place])
            if known is not None and known.last <= head:
                yield place, known

    def _insert(self, values: Sequence[_Value]) -> None:
        """IntegrityError: an id or a version is in its stream already."""
        begin = 0
        for count in ROWS_AT_ONCE:
            width = count * COLUMNS
            while len(values) - begin >= width:
                self._db.execute(statements.insert_appends(count), values[begin : begin + width])
                begin += width

    def _append(self, append: Append, body: bytes) -> Outcome:
        """One that may be known: it is looked for first."""
        actual = self._version(append.stream, self._find_number(append.stream))
        known = self._find_known(append, body) if actual > 0 else None
        return known or self._append_together([append], [body])[0]

    def _row(self, append: Append, body: bytes, last: int, version: int, chained: bytes | None) -> tuple[_Value, ...]:
        numbers, epoch, first_seq = self._numbers, append.epoch, append.first_seq
        return (
            last,
            numbers.get(append.stream) or self._number(append.stream),
            version,
            len(append.events),
            append.recorded_at,
            numbers.get(append.actor) or self._number(append.actor),
            _NONE if epoch is None else epoch,
            _NONE if first_seq is None else first_seq,
            packed(append.append_id),
            bytearray(body),
            None if chained is None else bytearray(chained),
        )

    def _last_link(self) -> bytes:
        """A log of format 1 has none: its chain begins with the next append."""
        if self._link is None:
            row = self._db.execute(statements.LAST_LINK).fetchone()
            return (row and row[0]) or FIRST
        return self._link

    def _find_known(self, append: Append, body: bytes) -> Duplicate | None:
        """The append that has its id in its stream."""
        stream = self._find_number(append.stream)
        row = self._db.execute(statements.FIND_APPEND, (stream, packed(append.append_id))).fetchone()
        if row is None:
            return None
        position, version, count, epoch, first_seq, kept = row
        same = (epoch, first_seq) == (append.epoch, append.first_seq) and same_body(kept, body)
        return Duplicate(Position(position - count + 1), Position(position), Version(version), same)

    def _version(self, name: StreamName, number: int | None) -> Version:
        version = self._heads.get(name)
        if version is None:
            row = self._db.execute(statements.STREAM_VERSION, (number,)).fetchone() if number is not None else None
            version = self._heads[name] = Version((row and row[0]) or 0)
        return version

    def _number(self, name: str) -> int:
        number = self._find_number(name)
        if number is None:
            number = self._db.execute(statements.INSERT_NAME, (name,)).lastrowid
            assert number is not None
            self._numbers[name] = number
        return number

    def _find_number(self, name: str) -> int | None:
        number = self._numbers.get(name)
        if number is None:
            row = self._db.execute(statements.FIND_NAME, (name,)).fetchone()
            if row is not None:
                number = self._numbers[name] = int(row[0])
        return number

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """IntegrityError goes through: what it means, the caller knows."""
        committing = False
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._check_caches()
            yield
            committing = True
            self._db.execute("COMMIT")
        except BaseException as error:
            self._forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                raise self._fault(error, committing=committing) from error
            raise

    def _fault(self, error: sqlite3.Error, *, committing: bool) -> Exception:
        """A write or flush that failed under COMMIT may still be found, whole, after a crash of the machine. The same
        batch again settles it: it is written over the same place of the write-ahead log.
        """
        if committing and primary_code(error) == sqlite3.SQLITE_IOERR:
            return OutcomeUnknown(
                f"the disk failed under a commit to the log {self._path}: {error}",
                hint="check the disk (dmesg, smartctl); to ask for the same once more does no harm",
            )
        return unusable(self._path, error)

    def _check_caches(self) -> None:
        data_version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if data_version != self._data_version or len(self._numbers) + len(self._heads) > CACHED_NAMES:
            self._forget()
            self._data_version = data_version

    def _forget(self) -> None:
        self._numbers.clear()
        self._heads.clear()
        self._head = None
        self._link = None
