"""A home, looked at: its folder, its key, its storage, and what its log is kept in. Opens neither storage nor log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from typing import Final
from urllib.parse import unquote, urlsplit

from playhead.cli.actions.keys import source_of
from playhead.cli.examining.troubles import failed
from playhead.cli.place import Place
from playhead.errors import PlayheadError
from playhead.log import source_of as store_source
from playhead.log import without_secrets
from playhead.ports.examination import Finding, Health

LITTLE_ROOM_BYTES: Final = 16 * 1024 * 1024  # a journal's largest batch, twice


def home(place: Place) -> list[Finding]:
    findings = [_folder(place), _key(place), _guarded("storage", lambda: _storage(place))]
    if place.settings.server_url is None:  # another's server has a store of its own
        findings.append(_guarded("store", lambda: _store(place.settings.store_url)))
    return findings


def _folder(place: Place) -> Finding:
    path = place.home.path
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding("home", Health.FAIL, f"{path} cannot be written", "make it writable, or name another home")
    if path.stat().st_mode & 0o077:
        return Finding("home", Health.WARN, f"{path} can be entered by others", f"chmod 700 {path}")
    return Finding("home", Health.OK, str(path))


def _key(place: Place) -> Finding:
    return Finding("key", Health.OK, f"{place.home.keys.current.id}, {source_of(place.home)}")


def _storage(place: Place) -> Finding:
    storage = place.home.storage
    text = f"{storage.url}, id {storage.id}"
    parts = urlsplit(storage.url)
    if parts.scheme == "file":
        folder = unquote(parts.path)
        if not os.access(folder, os.W_OK | os.X_OK):
            todo = "make it writable for this user; a run whose storage cannot be written loses its runner"
            return Finding("storage", Health.FAIL, f"{text}: it cannot be written", todo)
        free = shutil.disk_usage(folder).free
        if free < LITTLE_ROOM_BYTES:
            todo = "free some space: runs that find none wait, and go on by themselves"
            return Finding("storage", Health.WARN, f"{text}: {free:,} bytes are left", todo)
    return Finding("storage", Health.OK, text)


def _store(url: str) -> Finding:
    """What the log is kept in, and whose code that is."""
    source = store_source(url)
    if source.package is None:
        return Finding("store", Health.OK, f"{without_secrets(url)}, by the function {source.function}")
    return Finding("store", Health.OK, f"{without_secrets(url)}, by {source.package} {version(source.package)}")


def _guarded(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except PlayheadError as error:
        return failed(part, error)
