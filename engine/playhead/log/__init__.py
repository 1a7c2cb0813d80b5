"""The log: appends in groups, subscriptions from memory, and the backends that keep it.

For authors of a backend: `encode`, `decode`, `same_body`, `fits` and `recorded` (what an append is), `News` (that the head moved) and
`OneThread` (for a blocking library).
"""

from playhead.log.appends import decode, encode, fits, recorded, same_body
from playhead.log.cursor import Cursor, check_cursor, cursor_at
from playhead.log.engine import Log
from playhead.log.news import News
from playhead.log.onethread import OneThread
from playhead.log.shown import without_secrets
from playhead.log.sources import Source, source_of
from playhead.log.urls import open_backend

__all__ = [
    "Cursor",
    "Log",
    "News",
    "OneThread",
    "Source",
    "check_cursor",
    "cursor_at",
    "decode",
    "encode",
    "fits",
    "open_backend",
    "recorded",
    "same_body",
    "source_of",
    "without_secrets",
]
