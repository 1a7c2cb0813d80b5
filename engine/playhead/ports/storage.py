"""The port of storage: the user's own place for sealed flows, parameters, journals, results, failures and logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

STORAGE_MARKER = ".playhead-storage"  # the object in a storage's root that holds its id


class AppendFile(Protocol):
    """One growing object, held by one writer. Thread safe for one writer at a time.

    `append` returns when the bytes are durable (on a file: after fdatasync; the new object's directory entry was synced
    when it was created). After it raised `StorageUnavailable` the object must be abandoned: what it holds behind its last
    acknowledged byte is not known, and a failed flush is never retried on the same object. `StorageFull` alone says that
    nothing was flushed: the same bytes may be appended to the same object once there is room.
    """

    def append(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Storage(Protocol):
    """Synchronous, thread safe; callers on an event loop go through a thread.

    Paths are relative, '/'-separated, of `[A-Za-z0-9_.~=-]` segments without "." and ".."; a bad one is a `UsageError`.
    Errors: `NoSuchObject`, `AlreadyExists`, and `StorageUnavailable` for everything the world does (read-only,
    gone, broken), of which `StorageFull` says that the same call may succeed later, and has left nothing behind.

    * `create_if_absent` is exclusive and durable: of any number of callers one wins, the others get `AlreadyExists`; on
      return both the bytes and the directory entry survive a loss of power; nobody ever reads half of it.
    * `open_append` creates a new object exclusively (`AlreadyExists` if there is one) with its directory entry synced.
    * `exists` sees what any other process created before the call (no caching).
    * `append_loose` appends without any promise of durability (log lines); concurrent writers do not interleave a call.
    """

    @property
    def id(self) -> str:
        """Random id of this storage, kept in a marker object in its root; made on first use."""
        ...

    @property
    def url(self) -> str:
        """Where it is, for the user's side only: never sent to a server."""
        ...

    def create_if_absent(self, path: str, data: bytes) -> None: ...

    def open_append(self, path: str) -> AppendFile: ...

    def append_loose(self, path: str, data: bytes) -> None: ...

    def read(self, path: str, *, start: int = 0) -> bytes:
        """The object's bytes from `start` on."""
        ...

    def settle(self, path: str) -> None:
        """Return when what `read` gives of the object is durable, whoever wrote it.

        A writer that died may have flushed nothing of what others can see already. Nobody builds on that before this.
        """
        ...

    def exists(self, path: str) -> bool: ...

    def list(self, prefix: str) -> Sequence[str]:
        """Paths of all objects below the folder `prefix` (recursively), sorted."""
        ...
