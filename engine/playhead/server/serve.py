"""Serves the app on a TCP port or a unix socket with uvicorn, inside the caller's loop. Owns the listening socket.

Installs no signal handler and configures no logging: whoever runs the loop decides when to leave the `async with`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import socket
import stat
from collections.abc import AsyncGenerator, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import uvicorn
from starlette.applications import Starlette

from playhead.errors import UsageError
from playhead.server.access import Door
from playhead.server.connections import ConnectionLimits, Connections
from playhead.server.gate import Gate
from playhead.server.hosts import Hosts, is_loopback
from playhead.server.rates import RateLimits
from playhead.server.streams import Streams

DEFAULT_PORT: Final = 4317
MAX_PORT: Final = 65_535
GRACE_SECONDS: Final = 5.0  # for open requests at the end; the longest lawful one waits 5 s for a read model
KEEP_ALIVE_SECONDS: Final = 75  # longer than our client keeps an idle connection, so that none closes under a request
BACKLOG: Final = 1_024  # connections not yet accepted: a whole fleet that comes back at once
DEAD_PEER_MILLIS: Final = 30_000  # unacknowledged bytes: the peer is gone; the kernel alone would wait 15 minutes
WILDCARDS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where each is found from here
TICK_SECONDS: Final = 1.0  # uvicorn renews its Date header, and connections that take too long are found

# Of every answer: no page of another site may read it by embedding it, and no browser may take it for something else.
HEADERS: Final = [("cross-origin-resource-policy", "same-origin"), ("x-content-type-options", "nosniff")]


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """What a server that listens bears, below the app; the app has limits of its own."""

    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    rates: RateLimits = field(default_factory=RateLimits)


DEFAULT_LIMITS: Final = ServeLimits()


@contextlib.asynccontextmanager
async def serve(
    app: Starlette,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    uds: Path | None = None,
    allowed_hosts: Iterable[str] = (),
    limits: ServeLimits = DEFAULT_LIMITS,
    grace_seconds: float = GRACE_SECONDS,
) -> AsyncGenerator[str]:
    """Serve the app of `create_app` while the block runs; gives its URL. Port 0 takes a free one; `uds` wins over host and port.

    `allowed_hosts`: under which names it may be asked, beside loopback's, `host`, and the address that a request comes in on.
    At the end open event streams are closed, and open requests get `grace_seconds`. Raises UsageError where the address
    cannot be had, an allowed host is none, or others could reach the app and it requires no tokens, or nobody has one.
    """
    allowed_hosts = tuple(allowed_hosts)
    names = Hosts(allowed_hosts, own="" if host in WILDCARDS else host)
    if uds is None and reaches_others(host, allowed_hosts):
        _check_guarded(app)
    listener, url = bind_unix(uds) if uds is not None else _bind(host, port)
    hosts = names if uds is None else None  # no browser speaks through a unix socket
    try:
        async with serve_on(listener, app, hosts=hosts, limits=limits, grace_seconds=grace_seconds):
            yield url
    finally:
        if uds is not None:
            uds.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def serve_on(
    listener: socket.socket,
    app: Starlette,
    *,
    hosts: Hosts | None,
    limits: ServeLimits = DEFAULT_LIMITS,
    grace_seconds: float = GRACE_SECONDS,
) -> AsyncGenerator[None]:
    """As `serve`, on a socket that listens already; closes it at the end. `hosts`: as a `Gate` takes it."""
    connections = Connections(limits.connections)
    config = uvicorn.Config(
        Gate(app, hosts, limits.rates),
        http=connections.protocol(),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=HEADERS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(grace_seconds),
        backlog=BACKLOG,
    )
    server = _Server(config, listener, connections)
    streams: Streams = app.state.streams
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run_shielded)
            try:
                await server.ready.wait()  # whoever is cancelled here must still stop a server that is shielded
                yield
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 — raised again below: a task group would wrap it in a group
                failure = error
            finally:
                streams.close()
                server.stop()
    finally:
        listener.close()
    if failure is not None:
        raise failure


class _Server(uvicorn.Server):
    """uvicorn's server, told to stop by a call and not by a signal."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, open_ones: Connections) -> None:
        super().__init__(config)
        self._open_ones = open_ones
        self._listener = listener
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run_shielded(self) -> None:
        """Ends by `stop` only: a cancelled caller must not leave connections behind. The grace bounds it."""
        with anyio.CancelScope(shield=True):
            await self.serve([self._listener])

    def stop(self) -> None:
        """Not by uvicorn's own flag: set before the start is over, it would leave the server without its shutdown."""
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        while not self._stopping.is_set():
            await self.on_tick(0)
            self._open_ones.sweep(asyncio.get_running_loop().time())
            with anyio.move_on_after(TICK_SECONDS):
                await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # whoever did not end in its grace
            transport = getattr(connection, "transport", None)
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()


def reaches_others(host: str, allowed_hosts: Iterable[str] = ()) -> bool:
    """Whether other machines may reach what listens there: by its address, or because it has names of its own, for which a proxy on
    this machine asks. A name that has no address is for `serve` to tell."""
    if not all(map(is_loopback, allowed_hosts)):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        return False
    return not all(is_loopback(str(address[0])) for *_, address in found)


def _check_guarded(app: Starlette) -> None:
    """UsageError: whoever reaches the app could command it, or nobody could."""
    door: Door | None = getattr(app.state, "door", None)
    if door is None or not door.required:
        raise UsageError(
            "others can reach this server, and could command it: it requires no tokens",
            hint="make the app with `create_app(..., require_tokens=True)`, or listen on 127.0.0.1 only",
        )
    if not door.admission().can_be_entered():
        raise UsageError(
            "others can reach this server, so it requires tokens, and there is none by which anybody could use it",
            hint="make the first one on this machine, `playhead token create NAME --scope admin`, and start the server again",
        )


def _bind(host: str, port: int) -> tuple[socket.socket, str]:
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"{port} is not a port", hint=f"choose one up to {MAX_PORT}, or 0 for any free one")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(
            f"{host!r}, port {port}, is not an address to listen on: {error}",
            hint="use 127.0.0.1 for this machine only, or 0.0.0.0 for all of its addresses",
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MILLIS)
        listener.bind(address)
        listener.listen(BACKLOG)  # now, so that two that race for a port do not both believe they have it
    except OSError as error:
        listener.close()
        raise _not_bound(f"port {port} of {host}", error, "another --port, or --port 0 for any free one") from error
    listener.setblocking(False)
    return listener, _url(*listener.getsockname()[:2])


def _url(host: str, port: int) -> str:
    """Where a client on this machine finds it: a wildcard is no address to connect to."""
    reachable = WILDCARDS.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def bind_unix(path: Path) -> tuple[socket.socket, str]:
    """A socket file that only this user may open. A file that a dead server left behind is replaced."""
    path = path.absolute()
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _not_bound(f"the socket {path}", error, "a shorter path, in a folder that you can write") from error
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener, f"unix://{path}"


def _remove_stale(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # nothing there, or what bind will say better
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} exists and is not a socket", hint="choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise UsageError(
        f"the socket {path} is in use", hint="another server listens there: stop it, or choose another path"
    )


def _not_bound(what: str, error: OSError, remedy: str) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"{what} is in use", hint=f"stop what listens there, or choose {remedy}")
    return UsageError(f"{what} cannot be listened on: {error.strerror or error}", hint=f"choose {remedy}")
