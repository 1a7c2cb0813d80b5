"""The names of objects. Owns which paths a storage takes; knows nothing of where they lead."""

from __future__ import annotations

import re
from typing import Final

from playhead.errors import UsageError

MAX_SEGMENT: Final = 255  # what file systems take as one name
MAX_PATH: Final = 1024  # what object stores take as one key

_SEGMENT = rf"(?!\.{{1,2}}(?:/|\Z))[A-Za-z0-9_.~=-]{{1,{MAX_SEGMENT}}}"
_PATH = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def check_path(path: str) -> str:
    """The path itself, if an object may have it; else a UsageError that says which may."""
    if len(path) > MAX_PATH or not _PATH.fullmatch(path):
        raise UsageError(
            f"{path!r} cannot be the path of an object in storage",
            hint="segments of letters, digits and '_.~=-', separated by single '/', relative, without '.' and '..'",
        )
    return path


def check_prefix(prefix: str) -> str:
    """A folder to list: the path of one, or "" for the whole storage."""
    return check_path(prefix) if prefix else ""
