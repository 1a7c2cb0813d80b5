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
TO_FORMAT_2: Final = _FOLDER.joinpath("to_format_2.sql").read_text(encoding="utf-8")

FIND_NAME: Final[str] = _QUERIES["find_name"]
INSERT_NAME: Final[str] = _QUERIES["insert_name"]
FIND_APPEND: Final[str] = _QUERIES["find_append"]
STREAM_VERSION: Final[str] = _QUERIES["stream_version"]
HEAD: Final[str] = _QUERIES["head"]
INSERT_APPEND: Final[str] = _QUERIES["insert_append"]
READ_ALL: Final[str] = _QUERIES["read_all"]
READ_STREAM: Final[str] = _QUERIES["read_stream"]
READ_NAME: Final[str] = _QUERIES["read_name"]
INSERT_META: Final[str] = _QUERIES["insert_meta"]
SET_META: Final[str] = _QUERIES["set_meta"]
READ_META: Final[str] = _QUERIES["read_meta"]
LAST_LINK: Final[str] = _QUERIES["last_link"]
READ_KEPT: Final[str] = _QUERIES["read_kept"]
READ_KEPT_OLD: Final = READ_KEPT.replace("link", "NULL")  # of format 1
FIND_BEFORE: Final[str] = _QUERIES["find_before"]
REMOVE_BEFORE: Final[str] = _QUERIES["remove_before"]
READ_FLOOR: Final[str] = _QUERIES["read_floor"]
KEEP_FLOOR: Final[str] = _QUERIES["keep_floor"]
READ_FORGOTTEN: Final[str] = _QUERIES["read_forgotten"]
FORGOTTEN_BESIDE: Final[str] = _QUERIES["forgotten_beside"]
KEEP_FORGOTTEN: Final[str] = _QUERIES["keep_forgotten"]
DROP_FORGOTTEN: Final[str] = _QUERIES["drop_forgotten"]
IS_FORGOTTEN: Final[str] = _QUERIES["is_forgotten"]
SET_HEAD: Final[str] = _QUERIES["set_head"]
BEGIN_HEAD: Final[str] = _QUERIES["begin_head"]
DROP_META: Final[str] = _QUERIES["drop_meta"]


@cache
def insert_appends(rows: int) -> str:
    """`INSERT_APPEND` for so many rows at once."""
    _, _, row = INSERT_APPEND.partition("VALUES ")
    return INSERT_APPEND + f", {row}" * (rows - 1)
