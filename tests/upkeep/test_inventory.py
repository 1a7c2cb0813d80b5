"""What a log holds: counted where it is small, estimated where it is large, and both said."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.core.names import Version
from playhead.log.memory import MemoryBackend
from playhead.log.sqlite import url_for
from playhead.upkeep import opened_to_read, take_inventory
from tests.upkeep.places import Plain, sqlite_log
from tests.upkeep.samples import DAY, TASKS, commit, fill, run_appends, stream_of


async def test_all_of_it_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with sqlite_log(path) as writer:
        await fill(writer)
        async with opened_to_read(url_for(path)) as backend:
            found = await take_inventory(backend)
            head = await writer.head()
    assert (found.log_id, found.head, found.exact, found.format) == (writer.log_id, head, True, 2)
    assert found.streams == {"agent": 1, "flow": 1, "run": 6}
    assert found.runs == {"running": 1, "succeeded": 2, "failed": 2, "cancelled": 1}
    assert found.events["task.succeeded"] == 6 * TASKS
    assert sum(found.events.values()) == head
    assert (found.oldest_at, found.newest_at) == (0, 4 * DAY)
    assert found.sizes["file"] > 0
    assert found.link is not None
    assert len(found.link) == 64
    assert "chained" in found.capabilities


async def test_a_store_that_offers_nothing_is_described_as_far_as_it_goes() -> None:
    backend = Plain()
    await fill(backend)
    found = await take_inventory(backend)
    assert (found.capabilities, found.sizes, found.link, found.format) == ((), {}, None, None)
    assert found.streams == {"agent": 1, "flow": 1, "run": 6}


async def test_an_empty_log_has_nothing() -> None:
    found = await take_inventory(MemoryBackend())
    assert (found.head, found.oldest_at, found.newest_at, found.link, dict(found.events)) == (0, None, None, None, {})


async def test_a_large_log_is_looked_at_in_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.upkeep.inventory.EXACT_POSITIONS", 100)
    monkeypatch.setattr("playhead.upkeep.inventory.PAGE_EVENTS", 17)
    backend = MemoryBackend()
    for number in range(200):
        await commit(backend, run_appends(number))
    found = await take_inventory(backend)
    assert (found.exact, found.streams, found.runs) == (False, None, None)
    assert abs(found.events["task.started"] - 200 * TASKS) < 100, "about"
    whole = await take_inventory(backend, exact=True)
    assert (whole.exact, whole.events["task.started"]) == (True, 200 * TASKS)


async def test_the_newest_is_found_behind_a_hole() -> None:
    backend = MemoryBackend()
    await commit(backend, run_appends(1, day=3))
    await commit(backend, run_appends(2, day=4))
    newest = (await backend.read_stream(stream_of(2), after=Version(0), limit=100))[-1]
    link = (await take_inventory(backend)).link
    await backend.forget(stream_of(2), upto=newest.version)
    found = await take_inventory(backend)
    assert (found.newest_at, found.link) == (3 * DAY, link)
