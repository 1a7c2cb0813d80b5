"""What a page of a PostgreSQL log costs, and that names are never taken for others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogUnusable
from playhead_adapters.stores.postgres import PostgresBackend, open_url
from playhead_adapters.stores.postgres.address import parse
from playhead_adapters.stores.postgres.connections import rows
from tests.log.samples import new
from tests.postgres.cluster import Cluster

pytestmark = pytest.mark.real

A, B = StreamName("default/run/a"), StreamName("default/run/b")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[PostgresBackend]:
    backend = await open_url(url)
    try:
        yield backend
    finally:
        await backend.close()


async def test_names_are_asked_for_once(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    async def noted(connection: Any, name: str, values: Any = None) -> Any:
        names.append(name)
        return await rows(connection, name, values)

    monkeypatch.setattr("playhead_adapters.stores.postgres.readers.rows", noted)
    async with opened(postgres.new_log()) as backend:
        await backend.commit([new(A), new(B), new(A, 3)])
        for after in range(5):
            await backend.read_all(after=Position(after), limit=2)
        await backend.read_stream(A, after=Version(0), limit=10)
        assert names == ["read_all", "read_names", *["read_all"] * 4, "read_stream"]
        await backend.commit([new("default/run/c")])
        await backend.read_all(after=Position(5), limit=2)
        assert names[-2:] == ["read_all", "read_names"]


async def test_more_names_than_are_remembered_are_read_as_well(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playhead_adapters.stores.postgres.readers.KNOWN_NAMES", 5)
    monkeypatch.setattr("playhead_adapters.stores.postgres.places.KNOWN_NAMES", 5)
    streams = [f"default/run/{number}" for number in range(30)]
    async with opened(postgres.new_log()) as backend:
        for begin in range(0, 30, 3):
            await backend.commit([new(stream) for stream in streams[begin : begin + 3]])
            await backend.commit([new(stream) for stream in streams[begin : begin + 3]])
        after, found = Position(0), list[str]()
        while page := (await backend.read_all(after=after, limit=4)).events:
            found += [event.stream for event in page]
            after = page[-1].position
        assert sorted(found) == sorted(streams * 2)
        assert {event.stream for event in (await backend.read_all(after=Position(0), limit=100)).events} == set(streams)


async def test_an_append_whose_stream_has_no_name_is_never_left_out(postgres: Cluster) -> None:
    """Somebody removed a row by hand: events are missing from no page in silence."""
    url = postgres.new_log()
    async with opened(url) as backend:
        await backend.commit([new(A), new(B)])
        postgres.execute(f"DELETE FROM {parse(url).schema}.names WHERE name = '{B}'")
        with pytest.raises(LogUnusable, match="is damaged: an append's stream or actor has no name"):
            await backend.read_all(after=Position(0), limit=10)
        with pytest.raises(LogUnusable, match="is damaged"):
            await backend.read_kept(after=Position(0), limit=10)
