"""Who owns a home's log: one process at a time, found out by a lock; the others reach it through a socket in the home.

The owner holds a flock on a close-on-exec descriptor, runs log and service in its own loop, and listens on the home's unix
socket. Whoever comes later joins through the socket, and takes over when the owner ends. The web server is imported only when
somebody joins: most programs run their flow alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from weakref import WeakSet

import anyio

from playhead.background import background
from playhead.errors import LogUnusable, ServerUnreachable
from playhead.home import Home
from playhead.ports.access import Guarded
from playhead.ports.server import ServerApi

JOIN_SECONDS: Final = 15.0  # how long a joiner tries while the owner starts, ends or changes
RETRY_SECONDS: Final = 0.05
JOIN_TRIES: Final = 120  # of one request, an eighth of a second apart on the average: as long as a joiner tries
TAKE_OVER_SECONDS: Final = 0.25  # how often a joiner looks whether the owner has gone: one system call


class HomeLock:
    """The right to write a home's log. Held until `release`, or until this process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def try_take(self) -> bool:
        """Take it if nobody holds it. Raises LogUnusable where the home cannot be written."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogUnusable(
                f"the home {self._path.parent} cannot be written: {error.strerror}",
                hint="make it writable, free some space, or name another with PLAYHEAD_HOME",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise LogUnusable(f"the lock {self._path} cannot be taken: {error.strerror}") from error
        self._fd = fd
        _held.add(self)
        return True

    def release(self) -> None:
        """Let go of it. In a fork of its holder: of the fork's share only."""
        _held.discard(self)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


_held: Final[WeakSet[HomeLock]] = WeakSet()


def _let_go_in_fork() -> None:
    """A fork (multiprocessing makes them) that outlives its parent must not keep the home locked: close on exec is not enough."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_fork)


@contextlib.asynccontextmanager
async def own(home: Home, lock: HomeLock) -> AsyncGenerator[Guarded]:
    """The service over this home's log, in this loop, for whoever holds its lock. Others can join while the block runs."""
    from playhead.log import Log
    from playhead.service import Service, ServiceSettings

    settings = ServiceSettings(lease_seconds=home.settings.lease_seconds)
    try:
        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(Log.open(home.settings.store_url))
            service = Service(log, read_models=home.views_path, settings=settings)
            api = await stack.enter_async_context(service)
            await stack.enter_async_context(_listening(home.socket_path, api))
            yield api
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def connect(home: Home) -> AsyncGenerator[ServerApi]:
    """This home's log, whoever owns it: in this process if nobody does, else through the owner's socket, and taken over at its end."""
    lock = HomeLock(home.lock_path)
    if await anyio.to_thread.run_sync(lock.try_take):
        async with own(home, lock) as api:
            yield api
        return
    from playhead.client.http import HttpServer
    from playhead.client.patience import Patience

    # Between one owner's end and the next one's start nobody listens: every request rides that out.
    patience = Patience(tries=JOIN_TRIES, first_delay=RETRY_SECONDS, most_delay=TAKE_OVER_SECONDS)
    async with HttpServer(f"unix://{home.socket_path}", patience=patience) as server, background() as tasks:
        tasks.start_soon(_take_over, home)
        await _until_answered(home, server)
        yield server


async def _take_over(home: Home) -> None:
    """Wait for the owner to end, and own the log in its place: the joiners, this one among them, go on through the same socket."""
    lock = HomeLock(home.lock_path)
    while not await anyio.to_thread.run_sync(lock.try_take):  # noqa: ASYNC110  # another process' lock tells nobody
        await anyio.sleep(TAKE_OVER_SECONDS)
    async with own(home, lock):
        await anyio.sleep_forever()


async def _until_answered(home: Home, server: ServerApi) -> None:
    with anyio.move_on_after(JOIN_SECONDS):
        while True:
            try:
                await server.info()
            except ServerUnreachable:
                await anyio.sleep(RETRY_SECONDS)
            else:
                return
    raise ServerUnreachable(
        f"another process holds the home {home.path} and does not answer on {home.socket_path}",
        hint="end that process (its id is the one that has the file `lock` there open), and try again",
    )


@contextlib.asynccontextmanager
async def _listening(path: Path, api: Guarded) -> AsyncGenerator[None]:
    """Listen on the home's socket; the web server starts with the first connection."""
    path.unlink(missing_ok=True)  # the lock is held: whoever listened here is gone
    listener = _bind(path)
    try:
        async with background() as tasks:
            tasks.start_soon(_serve_when_asked, listener, api)
            yield
    finally:
        listener.close()
        path.unlink(missing_ok=True)


async def _serve_when_asked(listener: socket.socket, api: Guarded) -> None:
    await anyio.wait_readable(listener)
    create_app, serve_on = await anyio.to_thread.run_sync(_import_server)
    async with serve_on(listener, create_app(api), hosts=None):
        await asyncio.get_running_loop().create_future()


def _import_server():  # type: ignore[no-untyped-def]
    from playhead.server.app import create_app
    from playhead.server.serve import serve_on

    return create_app, serve_on


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise LogUnusable(
            f"the socket {path} cannot be listened on: {error.strerror or error}",
            hint="a home's path must be short (a socket's may have about 100 letters) and writable",
        ) from error
    finally:
        os.umask(mask)
    return listener
