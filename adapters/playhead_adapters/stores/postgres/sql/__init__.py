"""Named SQL: statements live in .sql files with their names and comments; this reads them. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)


def script(file: str) -> bytes:
    """The whole of a file in this package."""
    return (files(__name__) / file).read_bytes()


@cache
def named(file: str = "queries.sql") -> Mapping[str, bytes]:
    """The statements of a file in this package, by name."""
    text = (files(__name__) / file).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {name: _COMMENT.sub("", part).strip().encode() for name, part in zip(parts[::2], parts[1::2], strict=True)}
