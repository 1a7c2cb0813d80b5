"""What a log does that forgets and is copied: the chain over its appends, what is left of what was forgotten, and copies of all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import UsageError
from playhead.log.appends import encode
from playhead.log.chain import FIRST, digest, link
from playhead.log.memory import MemoryBackend
from playhead.log.sqlite import SqliteBackend
from playhead.ports.store import Appended, Capability, Conflict, Kept
from playhead_adapters.stores.postgres import PostgresBackend
from playhead_adapters.stores.postgres import open_url as open_postgres
from tests.log.samples import new
from tests.postgres.cluster import Cluster

A, B = StreamName("default/run/a"), StreamName("default/run/b")
ALL = 1000

Backend = MemoryBackend | SqliteBackend | PostgresBackend


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.real)])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Backend]:
    opened: Backend
    match request.param:
        case "memory":
            opened = MemoryBackend()
        case "sqlite":
            opened = await SqliteBackend.open(tmp_path / "log.db")
        case _:
            cluster: Cluster = request.getfixturevalue("postgres")
            opened = await open_postgres(cluster.new_log())
    yield opened
    await opened.close()


async def fill(backend: Backend) -> None:
    """a: 1-2, b: 3, a: 4-6, b: 7, a: 8."""
    await backend.commit([new(A, 2, append_id="a1"), new(B, append_id="b1"), new(A, 3, append_id="a2")])
    await backend.commit([new(B, append_id="b2"), new(A, append_id="a3")])


def chained(kept: list[Kept]) -> bool:
    before = FIRST
    for each in kept:
        before = link(before, digest(each.append, encode(each.append)), last=each.last, version=each.version)
        if each.link != before:
            return False
    return True


async def kept_of(backend: Backend) -> list[Kept]:
    return list(await backend.read_kept(after=Position(0), limit=ALL))


async def test_each_append_is_kept_with_its_link(backend: Backend) -> None:
    assert Capability.CHAINED in backend.capabilities
    await fill(backend)
    await backend.commit([new(A, append_id="a1", count=2), new(A, expected=Version(77)), new(B, 2)])
    kept = await kept_of(backend)
    assert [(each.append.stream, each.last, each.version) for each in kept] == [
        (A, 2, 2), (B, 3, 1), (A, 6, 5), (B, 7, 2), (A, 8, 6), (B, 10, 4),
    ]  # fmt: skip
    assert chained(kept)
    assert await backend.read_kept(after=Position(5), limit=2) == kept[2:4]


async def test_what_is_forgotten_is_gone_and_its_place_is_not_given_again(backend: Backend) -> None:
    await fill(backend)
    assert await backend.forget(A, upto=Version(5)) == 5
    assert await backend.forget(A, upto=Version(5)) == 0, "it was done before"
    page = await backend.read_all(after=Position(0), limit=ALL)
    assert [(event.position, event.version) for event in page.events] == [(3, 1), (7, 2), (8, 6)]
    assert [event.version for event in await backend.read_stream(A, after=Version(0), limit=ALL)] == [6]
    assert [await backend.is_forgotten(Position(position)) for position in range(10)] == [
        False, True, True, False, True, True, True, False, False, False,
    ]  # fmt: skip
    assert await backend.commit([new(A, expected=Version(6))]) == [Appended(Position(9), Position(9), Version(7))]


async def test_a_stream_that_is_forgotten_whole_is_counted_on_and_the_log_ends_where_it_did(backend: Backend) -> None:
    await fill(backend)
    chain = [each.link for each in await kept_of(backend)]
    assert await backend.forget(A, upto=Version(6)) == 6
    assert await backend.head() == 8
    refused, added = await backend.commit([new(A, append_id="a1", expected=Version(0)), new(A, expected=Version(6))])
    assert refused == Conflict(Version(6)), "what was asked for once is not begun again"
    assert added == Appended(Position(9), Position(9), Version(7))
    (newest,) = await backend.read_kept(after=Position(8), limit=ALL)
    assert newest.link == link(
        chain[-1] or b"", digest(newest.append, encode(newest.append)), last=newest.last, version=newest.version
    ), "the chain goes on from what was forgotten"


async def test_ranges_that_touch_are_one(backend: Backend) -> None:
    await fill(backend)
    links = {each.last: each.link for each in await kept_of(backend)}
    await backend.forget(A, upto=Version(5))
    assert list(await backend.forgotten()) == [(1, 2, links[Position(2)]), (4, 6, links[Position(6)])]
    await backend.forget(B, upto=Version(1))
    assert list(await backend.forgotten()) == [(1, 6, links[Position(6)])]
    await backend.forget(A, upto=Version(6))
    await backend.forget(B, upto=Version(2))
    assert list(await backend.forgotten()) == [(1, 8, links[Position(8)])]


async def test_no_part_of_an_append_is_forgotten(backend: Backend) -> None:
    await fill(backend)
    for upto in (1, 3, 7):
        with pytest.raises(UsageError, match=f"no append of stream {A} ends with version {upto}"):
            await backend.forget(A, upto=Version(upto))
    assert len((await backend.read_all(after=Position(0), limit=ALL)).events) == 8


@pytest.mark.parametrize("pages", [1, 100])
async def test_a_copy_has_all_of_it(backend: Backend, pages: int) -> None:
    await fill(backend)
    await backend.forget(A, upto=Version(5))
    copy, after, forgotten = MemoryBackend(), Position(0), await backend.forgotten()
    while kept := await backend.read_kept(after=after, limit=pages):
        ranges = [each for each in forgotten if after < each[1] <= kept[-1].last]
        await copy.restore(backend.log_id, kept, ranges)
        after = kept[-1].last
    assert copy.log_id == backend.log_id
    assert await kept_of(copy) == await kept_of(backend)
    assert await copy.forgotten() == forgotten
    append = new(A, expected=Version(6), append_id="goes on")
    assert await copy.commit([append]) == [Appended(Position(9), Position(9), Version(7))]


async def test_a_copy_into_a_log_goes_on_like_the_first(backend: Backend) -> None:
    source = MemoryBackend()
    await fill(source)
    await source.forget(A, upto=Version(6))
    whole, ranges = await kept_of(source), await source.forgotten()
    await backend.restore(source.log_id, whole[:1], ranges[:1])
    await backend.restore(source.log_id, whole[1:], ranges[1:])
    assert backend.log_id == source.log_id
    assert (await kept_of(backend), await backend.forgotten()) == (whole, ranges)
    append = new(B, expected=Version(2))
    assert await backend.commit([append]) == await source.commit([append])
    assert await kept_of(backend) == await kept_of(source)


async def test_only_the_beginning_of_a_log_is_restored_further(backend: Backend) -> None:
    await fill(backend)
    kept = await kept_of(backend)
    with pytest.raises(UsageError, match="is not the beginning of what is to be restored"):
        await backend.restore(LogId("another"), kept)
    with pytest.raises(UsageError, match="is not the beginning of what is to be restored"):
        await backend.restore(backend.log_id, kept)
    assert await kept_of(backend) == kept
