"""Removal of a stream's beginning from a SQLite log, and what is kept of it. Runs inside the writer's transaction; owns none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from playhead.core.names import Position, StreamName, Version
from playhead.log.kept import no_such_end
from playhead.log.ranges import Range, merged
from playhead.log.sqlite import statements


def remove(db: sqlite3.Connection, stream: StreamName, number: int | None, upto: Version) -> int:
    """Remove the stream's appends up to that version; how many events they had. UsageError: no append ends with `upto`."""
    floor = db.execute(statements.READ_FLOOR, (number,)).fetchone()
    if floor is not None and upto <= floor[0]:
        return 0
    gone = db.execute(statements.FIND_BEFORE, (number, upto)).fetchall()
    if not gone or gone[-1][2] != upto:
        raise no_such_end(stream, upto)
    db.execute(statements.REMOVE_BEFORE, (number, upto))
    db.execute(statements.KEEP_FLOOR, (number, upto))
    keep_ranges(db, ((Position(last - count + 1), Position(last), link) for last, count, _, link in gone))
    return sum(count for _, count, _, _ in gone)


def keep_ranges(db: sqlite3.Connection, ranges: Iterable[Range]) -> None:
    """Add positions to those that are forgotten; ranges that touch become one."""
    for first, last, link in merged(ranges):
        beside: list[Range] = [
            each
            for each in db.execute(statements.FORGOTTEN_BESIDE, (first, last))
            if each[1] + 1 == first or each[0] == last + 1
        ]
        db.executemany(statements.DROP_FORGOTTEN, ((each[0],) for each in beside))
        (whole,) = merged([*beside, (first, last, link)])
        db.execute(statements.KEEP_FORGOTTEN, whole)
