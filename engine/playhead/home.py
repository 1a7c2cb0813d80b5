"""A home: the user's folder with the key, and by default with log and storage. Owns what lies in it and under which name.

The user's side only: a home holds the key. Who may write the log of a home is `playhead.hosting`'s matter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Final, Self

from pydantic import TypeAdapter, ValidationError

from playhead.errors import StorageLost, UsageError
from playhead.ports.storage import Storage
from playhead.settings import Settings
from playhead.storage import open_storage
from playhead.storage.durable import make_folders, unavailable
from playhead.trust.keyfile import KeyFile
from playhead.trust.keys import KeyRing

_STORAGES: Final = TypeAdapter(dict[str, str])


class Home:
    """Made by `open`. Nothing of its keys may leave the user's side."""

    def __init__(self, settings: Settings, key_file: KeyFile) -> None:
        self.settings = settings
        self.key_file = key_file
        key_file.current()  # what is wrong with it is said at once

    @classmethod
    def open(cls, settings: Settings | None = None, *, env: Mapping[str, str] | None = None) -> Self:
        """The user's home; its folder (mode 0700) and its key are made on first use. `env` None: this process's.

        UsageError: a setting is wrong, or the home is no folder. StorageUnavailable: it cannot be made, or the key not be read.
        TrustError: what should be the key is none, or others may read it.
        """
        env = os.environ if env is None else env
        settings = settings or Settings.load(env=env)
        _make(settings.home)
        return cls(settings, KeyFile(settings.home, env))

    @property
    def keys(self) -> KeyRing:
        """The user's key ring as it is now: another program may have changed it. Raises as `KeyFile.read`."""
        return self.key_file.current()

    @property
    def path(self) -> Path:
        return self.settings.home

    @cached_property
    def storage(self) -> Storage:
        """The storage that new flows and runs are written to; made when a home first uses it, and never again.

        UsageError: nobody knows its URL's scheme. StorageLost: it was there, and is not any more.
        """
        url = self.settings.storage_url
        if url.startswith("memory:"):  # each process has its own
            return open_storage(url)
        known = self._known_storages()
        if url in known:
            return self._same_storage(url, known[url])
        storage = open_storage(url)
        self._note_storages(known | {url: storage.id})
        return storage

    def storage_of(self, what: str, storage_id: str) -> Storage:
        """The storage in which `what` is known to be kept; nothing is created. StorageLost: this home has none of that id."""
        try:
            return open_storage(self.settings.storage_url, expect_id=storage_id)
        except StorageLost as error:
            raise StorageLost(
                f"{what} is kept in storage {storage_id}, which is not at {self.settings.storage_url}",
                hint="name the right one with PLAYHEAD_STORAGE; if it was deleted, restore it from a backup",
            ) from error

    def _same_storage(self, url: str, storage_id: str) -> Storage:
        """An empty storage made in the place of one that is gone would hide the loss, and what is not mounted is not lost."""
        try:
            return open_storage(url, expect_id=storage_id)
        except StorageLost as error:
            raise StorageLost(
                f"the storage {storage_id}, which this home uses, is not at {url} any more",
                hint="put it back: mount its disk, or restore it from a backup; to begin with an empty one in its place, "
                f"remove {self._storages_path}",
            ) from error

    def _known_storages(self) -> dict[str, str]:
        try:
            return _STORAGES.validate_json(self._storages_path.read_bytes())
        except (OSError, ValidationError):
            return {}

    def _note_storages(self, known: dict[str, str]) -> None:
        fresh = self._storages_path.with_suffix(f".{token_hex(4)}")
        try:
            fresh.write_bytes(_STORAGES.dump_json(known))
            fresh.replace(self._storages_path)  # at once: another program of this home may read it
        except OSError as error:
            raise unavailable(error, "note the storage in", self._storages_path) from error

    @property
    def _storages_path(self) -> Path:
        """URL and id of each storage that this home has written to."""
        return self.path / "storages.json"

    @property
    def views_path(self) -> Path:
        """The read models: made anew from the log when they are gone."""
        return self.path / "views.db"

    @property
    def socket_path(self) -> Path:
        """Where the process that owns this home's log listens for the others."""
        return self.path / "playhead.sock"

    @property
    def lock_path(self) -> Path:
        """Held by the process that owns this home's log."""
        return self.path / "lock"

    @property
    def server_path(self) -> Path:
        """What `playhead up` tells others of its server."""
        return self.path / "server.json"

    @property
    def agents_path(self) -> Path:
        """The agents' names and their runners' folders."""
        return self.path / "agents"


def _make(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise UsageError(f"the home {path} is a file", hint="name a folder with PLAYHEAD_HOME, or move the file away")
    try:
        make_folders(path, mode=0o700)
    except OSError as error:
        raise unavailable(error, "make the home", path) from error
