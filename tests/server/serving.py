"""A `Guarded` served over loopback for one test, by TCP or by a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from playhead.client.http import HttpServer
from playhead.client.patience import Patience
from playhead.ports.access import Guarded
from playhead.server import clients
from playhead.server.app import create_app
from playhead.server.serve import DEFAULT_LIMITS, ServeLimits, serve
from playhead.server.streams import StreamLimits

Road = Literal["tcp", "unix"]

QUICK = Patience(first_delay=0.001, most_delay=0.01)
ONCE = Patience(tries=1, first_delay=0.001, most_delay=0.01)


async def until(condition: Callable[[], object]) -> None:
    """Return when it holds; TimeoutError after a time that only a hang reaches."""
    async with asyncio.timeout(20.0):
        while not condition():
            await asyncio.sleep(0)


def as_if_elsewhere(patch: pytest.MonkeyPatch) -> None:
    """Who asks by loopback counts as an address of another machine."""

    def counted(host: str) -> str:
        return host

    patch.setattr(clients, "_counted", counted)


@asynccontextmanager
async def serving(
    api: Guarded | Callable[[], Guarded],
    *,
    road: Road = "tcp",
    folder: Path | None = None,
    port: int = 0,
    limits: StreamLimits | None = None,
    allowed_hosts: tuple[str, ...] = (),
    bears: ServeLimits = DEFAULT_LIMITS,
    require_tokens: bool = False,
) -> AsyncGenerator[str]:
    """The URL of an app over `api`."""
    uds = None
    if road == "unix":
        assert folder is not None
        uds = folder / "s"
    app = create_app(api, limits=limits, require_tokens=require_tokens)
    async with serve(app, port=port, uds=uds, allowed_hosts=allowed_hosts, limits=bears, grace_seconds=1.0) as url:
        yield url


@asynccontextmanager
async def connected(
    api: Guarded, *, road: Road = "tcp", folder: Path | None = None, limits: StreamLimits | None = None
) -> AsyncGenerator[HttpServer]:
    """A client of an app over `api`."""
    async with serving(api, road=road, folder=folder, limits=limits) as url, HttpServer(url, patience=QUICK) as http:
        yield http
