"""The log in one SQLite file."""

from playhead.log.sqlite.backend import SqliteBackend, open_url, url_for

__all__ = ["SqliteBackend", "open_url", "url_for"]
