"""The SQL of the log by name, from `queries.sql` and `schema.sql`. Owns no connection and runs nothing."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

_FOLDER = files("playhead.log.sqlite")
_NAMED = re.compile(r"^-- name: (\w+)\n(.*?);$", re.MULTILINE | re.DOTALL)
_QUERIES = dict(_NAMED.findall(_FOLDER.joinpath("queries.sql").read_text(encoding="utf-8")))

SCHEMA: Final = _FOLDER.joinpath("schema.sql").read_text(encoding="utf-8")

FIND_NAME: Final[str] = _QUERIES["find_name"]
INSERT_NAME: Final[str] = _QUERIES["insert_name"]
FIND_APPEND: Final[str] = _QUERIES["find_append"]
STREAM_VERSION: Final[str] = _QUERIES["stream_version"]
HEAD: Final[str] = _QUERIES["head"]
INSERT_APPEND: Final[str] = _QUERIES["insert_append"]
READ_ALL: Final[str] = _QUERIES["read_all"]
READ_STREAM: Final[str] = _QUERIES["read_stream"]
INSERT_META: Final[str] = _QUERIES["insert_meta"]
SET_META: Final[str] = _QUERIES["set_meta"]
READ_META: Final[str] = _QUERIES["read_meta"]


@cache
def insert_appends(rows: int) -> str:
    """`INSERT_APPEND` for so many rows at once."""
    _, _, row = INSERT_APPEND.partition("VALUES ")
    return INSERT_APPEND + f", {row}" * (rows - 1)
