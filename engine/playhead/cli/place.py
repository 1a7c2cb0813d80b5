"""Whom a command asks: the server that was named, the one that serves this home, or the home's own log. Owns that choice.

`playhead up` leaves its address in the home's `server.json`. The file counts only while the process that wrote it lives and the
home's lock is held; a server that was killed leaves one that nobody believes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from playhead.cli import presented
from playhead.credentials import Credential, credential_for
from playhead.errors import ServerUnreachable
from playhead.home import Home
from playhead.hosting import HomeLock, connect
from playhead.settings import Settings

if TYPE_CHECKING:
    from playhead.client.client import Client

PRIVATE: Final = 0o600


class ServerNote(BaseModel):
    """The content of `server.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    pid: int


@dataclass(frozen=True)
class Place:
    """The user's home, and the settings in force for this command."""

    settings: Settings
    home: Home

    @classmethod
    def of(
        cls,
        home: Path | None,
        server: str | None = None,
        *,
        allowed_hosts: Sequence[str] | None = None,
        encrypt: bool = False,
        store: str | None = None,
    ) -> Place:
        """From the options of a command. Raises what `Settings.load` and `Home.open` raise."""
        flags = {
            "home": home,
            "server": server,
            "allowed_hosts": allowed_hosts or None,
            "encrypt": encrypt or None,
            "store": store,
        }
        settings = Settings.load(flags | {"token_file": presented.token_file.get()})
        return cls(settings, Home.open(settings))

    def server_url(self) -> str | None:
        """The server that an agent stands behind, or may: named in the settings, or serving this home."""
        return self.settings.server_url or served_at(self.home)

    def required_server_url(self) -> str:
        url = self.server_url()
        if url is None:
            raise ServerUnreachable(
                f"no server serves the home {self.home.path}",
                hint="start one with `playhead up`, or name one with --server or PLAYHEAD_SERVER",
            )
        return url

    def credential(self) -> Credential | None:
        """The token for the server that was named. The one that serves this home knows whoever can open it by that."""
        named = self.settings.server_url
        return None if named is None else credential_for(named, self.settings)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """A client of that server; without one, of this home's log, whoever owns it."""
        from playhead.client.client import Client  # brings flows, of no use to a server's own place

        url = self.server_url()
        if url is not None:
            from playhead.client.http import HttpServer  # as late: a home's own log needs no HTTP

            async with HttpServer(url, token=self.credential()) as server:
                yield Client(server, home=self.home)
        else:
            async with connect(self.home) as api:
                yield Client(api, home=self.home)


def served_at(home: Home) -> str | None:
    """The URL of the server that serves this home, if one does."""
    note = read_note(home)
    return note.url if note is not None and _alive(note.pid) and _held(home) else None


def read_note(home: Home) -> ServerNote | None:
    try:
        return ServerNote.model_validate_json(home.server_path.read_bytes())
    except (OSError, ValidationError):
        return None


@contextmanager
def noted(home: Home, url: str) -> Generator[None]:
    """Others find the server of this process while the block runs."""
    note = ServerNote(url=url, pid=os.getpid())
    fresh = home.server_path.with_suffix(".new")
    fresh.touch(mode=PRIVATE)
    fresh.write_text(note.model_dump_json(), encoding="utf-8")
    fresh.replace(home.server_path)  # at once: nobody reads half a note
    try:
        yield
    finally:
        home.server_path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # alive, and another user's
    return True


def _held(home: Home) -> bool:
    lock = HomeLock(home.lock_path)
    if lock.try_take():
        lock.release()
        return False
    return True
