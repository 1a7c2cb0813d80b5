"""A home: the user's folder with the key, and by default with log and storage. Owns what lies in it and under which name.

The user's side only: a home holds the key. Who may write the log of a home is `playhead.hosting`'s matter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

from playhead.errors import StorageLost, UsageError
from playhead.ports.storage import Storage
from playhead.settings import Settings
from playhead.storage import open_storage
from playhead.storage.durable import make_folders, unavailable
from playhead.trust.keys import KeyRing, load_or_create


class Home:
    """Made by `open`. `keys` is the user's key ring; nothing of it may leave the user's side."""

    def __init__(self, settings: Settings, keys: KeyRing) -> None:
        self.settings = settings
        self.keys = keys

    @classmethod
    def open(cls, settings: Settings | None = None, *, env: Mapping[str, str] | None = None) -> Self:
        """The user's home; its folder (mode 0700) and its key are made on first use. `env` None: this process's.

        UsageError: a setting is wrong, or the home is no folder. StorageUnavailable: it cannot be made, or the key not be read.
        TrustError: what should be the key is none, or others may read it.
        """
        env = os.environ if env is None else env
        settings = settings or Settings.load(env=env)
        _make(settings.home)
        return cls(settings, load_or_create(settings.home, env))

    @property
    def path(self) -> Path:
        return self.settings.home

    @cached_property
    def storage(self) -> Storage:
        """The storage that new flows and runs are written to. UsageError: nobody knows its URL's scheme."""
        return open_storage(self.settings.storage_url)

    def storage_of(self, what: str, storage_id: str) -> Storage:
        """The storage in which `what` is known to be kept; nothing is created. StorageLost: this home has none of that id."""
        try:
            return open_storage(self.settings.storage_url, expect_id=storage_id)
        except StorageLost as error:
            raise StorageLost(
                f"{what} is kept in storage {storage_id}, which is not at {self.settings.storage_url}",
                hint="name the right one with PLAYHEAD_STORAGE; if it was deleted, restore it from a backup",
            ) from error

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
