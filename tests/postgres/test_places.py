"""Batches whose places the writer knows by itself: quick while nobody else writes, and with the same outcomes as any others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import pytest

from playhead.core.names import Position, StreamName, Version
from playhead.log import chain, encode
from playhead.log.memory import MemoryBackend
from playhead.ports.store import Append, Appended, Conflict, Duplicate, Expect, Expected
from playhead_adapters.stores.postgres import PostgresBackend, open_url
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


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that writers run, in order."""
    names: list[str] = []

    async def noted(connection: Any, name: str, values: Any = None) -> Any:
        names.append(name)
        return await rows(connection, name, values)

    monkeypatch.setattr("playhead_adapters.stores.postgres.writer.rows", noted)
    return names


async def test_only_a_stream_that_is_new_is_looked_for(postgres: Cluster, calls: list[str]) -> None:
    async with opened(postgres.new_log()) as backend:
        for version in range(3):
            await backend.commit([new(A, expected=Version(version)), new(B, expected=Version(version))])
        await backend.commit([new(A), new("default/run/c", expected=Expect.NO_STREAM)])
        await backend.commit([new("default/run/c", expected=Version(1))])
    assert calls == ["append", "extend", "extend", "append", "extend"]


async def test_where_others_write_the_database_finds_the_places_until_they_are_silent(
    postgres: Cluster, calls: list[str]
) -> None:
    url = postgres.new_log()
    async with opened(url) as one, opened(url) as two:
        for version in (0, 1):
            await one.commit([new(A, expected=Version(version))])
        for version in (2, 4):  # in turns: each tries once, and not in vain again
            await two.commit([new(A)])
            assert await one.commit([new(A)]) == [
                Appended(Position(version + 2), Position(version + 2), Version(version + 2))
            ]
        assert calls == ["append", "extend", "append", *("extend", "append"), *("extend", "append"), "append"]
        await one.commit([new(A, expected=Version(6))])  # nobody wrote since its last, as this one tells it
        await one.commit([new(A, expected=Version(7))])
        assert calls[8:] == ["append", "extend"]


async def test_an_append_that_came_before_is_found_although_it_fits(postgres: Cluster, calls: list[str]) -> None:
    """A lost answer, and nobody minds the version."""
    async with opened(postgres.new_log()) as backend:
        await backend.commit([new(A, append_id="one")])
        assert await backend.commit([new(A, append_id="two"), new(A, append_id="one"), new(A, append_id="three")]) == [
            Appended(Position(2), Position(2), Version(2)),
            Duplicate(Position(1), Position(1), Version(1), same=True),
            Appended(Position(3), Position(3), Version(3)),
        ]
        assert calls == ["append", "extend", "append", "read_bodies"]
        await backend.commit([new(A, expected=Version(3))])
        assert calls[4:] == ["extend"], "what the database told is known"


async def test_what_does_not_fit_is_looked_for_under_its_id_before_the_batch(
    postgres: Cluster, calls: list[str]
) -> None:
    async with opened(postgres.new_log()) as backend:
        await backend.commit([new(A, append_id="one"), new(B, append_id="one")])
        batch = [
            new(A, append_id="late", expected=Version(7)),
            new(A, append_id="one", expected=Version(0)),
            new(B, append_id="two", expected=Version(1)),
            new(A, append_id="late", expected=Version(1)),  # the same as the first: that one came before there was one
            new(B, append_id="two", expected=Version(1)),  # and the same as the third
            new(B, 2, append_id="one", expected=Version(0)),
        ]
        assert await backend.commit(batch) == [
            Conflict(Version(1)),
            Duplicate(Position(1), Position(1), Version(1), same=True),
            Appended(Position(3), Position(3), Version(2)),
            Appended(Position(4), Position(4), Version(2)),
            Duplicate(Position(3), Position(3), Version(2), same=True),
            Duplicate(Position(2), Position(2), Version(1), same=False),
        ]
        assert calls == ["append", "extend", "read_bodies"]


async def test_a_stream_that_was_forgotten_goes_on_behind_what_it_had(postgres: Cluster, calls: list[str]) -> None:
    async with opened(postgres.new_log()) as backend:
        await backend.commit([new(A, 2), new(B)])
        await backend.forget(A, upto=Version(2))
        assert await backend.commit([new(A, expected=Version(2)), new(A, expected=Expect.NO_STREAM)]) == [
            Appended(Position(4), Position(4), Version(3)),
            Conflict(Version(3)),
        ]
        assert calls == ["append", "extend"]


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_comes_meets_what_it_would_in_memory(postgres: Cluster, servers: int, seed: int) -> None:
    """Batches at random: new streams, ids that came before or twice in one batch, wrong and careless versions, two servers in turns."""
    random = Random(seed)
    url, memory = postgres.new_log(), MemoryBackend()
    async with AsyncExitStack() as opening:
        backends = [await opening.enter_async_context(opened(url)) for _ in range(servers)]
        told: list[Append] = []
        for turn in range(50):
            batch = [_any_append(random, told, turn) for _ in range(random.randint(1, 8))]
            told += batch
            backend = random.choice(backends)
            assert await backend.commit(batch) == await memory.commit(batch), f"seed {seed}, batch {turn}: {batch}"
        assert (await backends[0].read_all(after=Position(0), limit=10_000)) == (
            await memory.read_all(after=Position(0), limit=10_000)
        )
        before = chain.FIRST
        for kept in await backends[0].read_kept(after=Position(0), limit=10_000):
            said = chain.digest(kept.append, encode(kept.append))
            before = chain.link(before, said, last=kept.last, version=kept.version)
            assert kept.link == before


def _any_append(random: Random, told: list[Append], turn: int) -> Append:
    if told and random.random() < 0.1:
        return random.choice(told)
    stream = StreamName(f"default/run/{random.randint(0, 3 + turn // 20)}")
    version = sum(
        len(append.events) for append in told if append.stream == stream
    )  # a guess: some of those were refused
    choices: list[Expected] = [
        Expect.ANY, Expect.ANY, Expect.NO_STREAM, Version(version), Version(max(0, version - 1)),
    ]  # fmt: skip
    expected = random.choice(choices)
    return new(stream, random.randint(1, 3), append_id=str(random.randint(0, 400)), expected=expected)
