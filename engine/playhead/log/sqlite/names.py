"""The names behind the numbers of a SQLite log's rows, as readers have them: each is looked up once. Never writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from playhead.log.sqlite import statements
from playhead.log.sqlite.faults import damaged

KNOWN_NAMES: Final = 20_000  # that one connection remembers, about 4 MB; then from scratch


class Names(dict[int, str]):
    """Of one connection, for one read at a time. Name and number belong together as long as the log lives: nothing changes one or
    removes it. LogUnusable from `names[number]`: the log has no such name."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._path = path
        self._db = connection

    def __missing__(self, number: int) -> str:
        row = self._db.execute(statements.READ_NAME, (number,)).fetchone()
        if row is None:
            raise damaged(self._path, f"a row says {number} for a name that is not there")
        if len(self) >= KNOWN_NAMES:
            self.clear()
        self[number] = name = str(row[0])
        return name
