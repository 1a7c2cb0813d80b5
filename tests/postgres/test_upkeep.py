"""A log is moved into PostgreSQL and back, verified and compacted there, and is the same log all the time."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.core.names import Micros, Version
from playhead.log import Log
from playhead.log.cursor import check_cursor, cursor_at
from playhead.log.sqlite import url_for
from playhead.upkeep import Retention, compact, copy, opened, opened_to_read, plan, take_inventory, verify
from tests.postgres.cluster import Cluster
from tests.upkeep.places import spoil
from tests.upkeep.samples import DAY, commit, fill, run_appends, stream_of

pytestmark = pytest.mark.real

NOW = Micros(100 * DAY)


async def test_a_log_goes_to_postgresql_and_back_and_its_old_runs_go(postgres: Cluster, tmp_path: Path) -> None:
    first, there, back = url_for(tmp_path / "first.db"), postgres.new_log(), url_for(tmp_path / "back.db")
    async with opened(first) as source, opened(there) as target:
        await fill(source)
        newest = (await source.read_stream(stream_of(1), after=Version(0), limit=100))[-1]
        await copy(source, target)
        wanted, found = await verify(source), await verify(target)
        assert (found.sound, found.findings) == (True, [])
        assert (found.link, found.head, found.log_id) == (wanted.link, wanted.head, wanted.log_id)
    async with Log.open(first) as source_log, Log.open(there) as log:
        cursor = await cursor_at(source_log, newest.position)
        assert await check_cursor(log, cursor) == newest.position
    async with opened(there) as target:
        done = await compact(
            target, await plan(target, Retention(ended_before=NOW)), now=NOW, archive_to=tmp_path / "ended.db"
        )
        assert (done.runs, done.skipped) == (5, 0)
        await commit(target, run_appends(50))
        assert (await verify(target)).sound
        assert (await take_inventory(target)).runs == {"running": 1, "succeeded": 1, "forgotten": 5}
    async with Log.open(there) as log:
        assert await check_cursor(log, cursor) == newest.position, "though its event was removed"
    async with opened_to_read(there) as source, opened(back) as target:
        await copy(source, target)
        wanted, found = await verify(source), await verify(target)
        assert (found.sound, found.link, found.head, found.events) == (True, wanted.link, wanted.head, wanted.events)
    async with opened_to_read(url_for(tmp_path / "ended.db")) as archive:
        assert (await verify(archive)).sound


async def test_a_log_without_links_stays_one_without_links(postgres: Cluster, tmp_path: Path) -> None:
    first, there = url_for(tmp_path / "first.db"), postgres.new_log()
    async with opened(first) as source:
        await fill(source, runs=2)
    spoil(tmp_path / "first.db", "UPDATE appends SET link = NULL")  # as format 1 left it
    async with opened(first) as source, opened(there) as target:
        await copy(source, target)
        head = await target.head()
        await commit(target, run_appends(50))
        found = await verify(target)
        assert (found.sound, found.chained_from) == (True, head + 1)
