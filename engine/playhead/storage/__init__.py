"""Storage: the user's own place for sealed flows, parameters, journals, results, failures and logs.

This package opens a storage by its URL. The folder and the memory storage are built in; other schemes come from the entry
point group `playhead.storage`, each a `StorageFactory`. The contract of what they open is `playhead.ports.storage`, and
`playhead.testing.storage` checks it. Nothing here runs on the server.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Protocol

from playhead.errors import UsageError
from playhead.ports.storage import Storage

__all__ = ["ENTRY_POINTS", "StorageFactory", "open_storage"]

ENTRY_POINTS: Final = "playhead.storage"

# Looked up before the installed distributions: they need no scan of the metadata, and nobody else can take their schemes.
_BUILT_IN: Final = (
    EntryPoint("file", "playhead.storage.folder:open_url", ENTRY_POINTS),
    EntryPoint("memory", "playhead.storage.memory:open_url", ENTRY_POINTS),
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class StorageFactory(Protocol):
    """What an entry point of the group names. `expect_id` is the id that the storage is known to have: with it, a storage
    that is missing or has another id is a `StorageLost`, and nothing is created."""

    def __call__(self, url: str, *, expect_id: str | None = None) -> Storage: ...


def open_storage(url: str | Path, *, expect_id: str | None = None) -> Storage:
    """Open the storage at `url`: `file:///absolute/folder`, the path of a folder, `memory:NAME`, or an installed scheme.

    UsageError: the scheme is not known, or its adapter does not load. StorageLost: it is not the storage `expect_id`.
    """
    text = str(url)
    scheme = _SCHEME.match(text)
    if isinstance(url, Path) or scheme is None:
        text = Path(text).expanduser().absolute().as_uri()
        return _factory("file", text)(text, expect_id=expect_id)
    return _factory(scheme[1].lower(), text)(text, expect_id=expect_id)


def _factory(scheme: str, url: str) -> StorageFactory:
    for entry in _BUILT_IN:
        if entry.name == scheme:
            return _loaded(entry, url)
    installed = entry_points(group=ENTRY_POINTS)
    for entry in installed:
        if entry.name == scheme:
            return _loaded(entry, url)
    known = sorted({entry.name for entry in (*_BUILT_IN, *installed)})
    raise UsageError(
        f"no storage is known for {url!r}",
        hint=f"the known schemes are {', '.join(f'{name}:' for name in known)}; a plain path is a folder",
    )


def _loaded(entry: EntryPoint, url: str) -> StorageFactory:
    try:
        factory: StorageFactory = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the storage adapter for {url!r} does not load: {error}",
            hint=f"it is registered as {entry.value}: install what it needs, or remove it",
        ) from error
    return factory
