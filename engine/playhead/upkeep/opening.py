"""Logs opened for upkeep: to be read beside whoever serves them, or to be changed. Owns how a URL is read; knows no backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import anyio

from playhead.log import open_backend
from playhead.ports.store import StoreBackend


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[StoreBackend]:
    """The backend behind the URL, which is made if there is none. Raises as `open_backend`."""
    backend = await open_backend(url)
    try:
        yield backend
    finally:
        with anyio.CancelScope(shield=True):
            await backend.close()


@asynccontextmanager
async def opened_to_read(url: str) -> AsyncGenerator[StoreBackend]:
    """The same, for one who changes nothing: a SQLite log is neither made nor locked nor brought forward, and may have its writer."""
    if url.startswith("sqlite:") and "mode" not in parse_qs(query := urlsplit(url).query):
        url += "&mode=ro" if query else "?mode=ro"
    async with opened(url) as backend:
        yield backend
