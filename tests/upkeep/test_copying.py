"""A copy is what the log was, whichever stores it goes between, wherever it was interrupted; a backup is made while somebody writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import CursorRefused, LogUnusable, UsageError
from playhead.log import Log
from playhead.log.cursor import check_cursor, cursor_at
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.log.sqlite import url_for
from playhead.ports.store import Append, Kept, Outcome, StoreBackend
from playhead.upkeep import back_up, copy, opened, opened_to_read, verify
from tests.log.samples import new
from tests.upkeep.places import Plain, sqlite_log
from tests.upkeep.samples import commit, fill, run_appends, stream_of


async def events_of(backend: StoreBackend) -> list[tuple[object, ...]]:
    page = await backend.read_all(after=Position(0), limit=10_000)
    return [(event.stream, event.version, event.type, event.data, event.append_id, event.actor, event.recorded_at, event.epoch, event.seq)
            for event in page.events]  # fmt: skip


async def test_a_whole_copy_has_id_positions_links_and_cursors(tmp_path: Path) -> None:
    source = MemoryBackend()
    await fill(source)
    newest = (await source.read_stream(stream_of(1), after=Version(0), limit=100))[-1]
    await source.forget(stream_of(1), upto=newest.version)
    async with sqlite_log(tmp_path / "copy.db") as target:
        copied = await copy(source, target)
        assert (copied.whole, copied.source, copied.target, copied.head) == (
            True, source.log_id, source.log_id, await source.head(),
        )  # fmt: skip
        assert await events_of(target) == await events_of(source)
        one, two = await verify(source), await verify(target)
        assert (one.sound, one.link, one.events) == (two.sound, two.link, two.events) == (True, two.link, two.events)
    async with Log.open(source) as log, Log.open(url_for(tmp_path / "copy.db")) as again:
        cursor = await cursor_at(log, Position(5))
        assert await check_cursor(again, cursor) == 5


async def test_what_is_appended_after_a_copy_is_copied_by_the_next(tmp_path: Path) -> None:
    source, target = MemoryBackend(), MemoryBackend()
    await fill(source)
    await copy(source, target)
    await commit(source, run_appends(50))
    copied = await copy(source, target)
    assert copied.appends == len(run_appends(50))
    assert await events_of(target) == await events_of(source)
    assert (await copy(source, target)).appends == 0


class Interrupted(MemoryBackend):
    """The power fails behind so many restores or commits."""

    left = 0

    async def restore(
        self, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[tuple[Position, Position, bytes | None]] = ()
    ) -> None:
        self._count()
        await super().restore(log_id, kept, forgotten)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self._count()
        return await super().commit(batch)

    def _count(self) -> None:
        if self.left == 0:
            raise LogUnusable("the disk is gone")
        self.left -= 1


@pytest.mark.parametrize("plain", [False, True])
async def test_an_interrupted_copy_goes_on_where_it_stopped(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.upkeep.pages.PAGE_APPENDS", 5)
    monkeypatch.setattr("playhead.upkeep.copying.PAGE_EVENTS", 5)
    source, inner = MemoryBackend(), Interrupted()
    await fill(source)
    target = Plain(inner) if plain else inner
    inner.left = 2
    with pytest.raises(LogUnusable):
        await copy(source, target)
    part = await target.head()
    assert 0 < part < await source.head()
    inner.left = 1000
    copied = await copy(source, target)
    assert 0 < copied.appends < len(await source.read_kept(after=Position(0), limit=10_000))
    assert await events_of(target) == await events_of(source)


async def test_into_a_store_without_more_it_is_a_log_of_its_own() -> None:
    source, target = MemoryBackend(), Plain()
    await fill(source)
    copied = await copy(source, target)
    assert (copied.whole, copied.target == source.log_id) == (False, False)
    assert await events_of(target) == await events_of(source)
    async with Log.open(source) as log, Log.open(target) as own:
        with pytest.raises(CursorRefused):
            await check_cursor(own, await cursor_at(log, Position(5)))


@pytest.mark.parametrize("plain", [False, True])
async def test_what_is_no_beginning_of_the_source_is_refused_and_left_alone(plain: bool) -> None:
    source, other = MemoryBackend(), MemoryBackend()
    await fill(source)
    await other.commit([new(StreamName("default/flow/other"))])
    target = Plain(other) if plain else other
    before = await events_of(target)
    with pytest.raises(UsageError) as refused:
        await copy(source, target)
    assert refused.value.hint is not None
    assert await events_of(target) == before


async def test_a_target_that_went_on_by_itself_is_refused() -> None:
    for target in (MemoryBackend(), Plain()):
        source = MemoryBackend()
        await fill(source)
        await copy(source, target)
        await target.commit([new(StreamName("default/flow/other"))])
        with pytest.raises(UsageError):
            await copy(source, target)


async def test_a_backup_is_made_while_the_log_is_written(tmp_path: Path) -> None:
    path, file = tmp_path / "log.db", tmp_path / "backup.db"
    async with sqlite_log(path) as writer:
        await fill(writer)
        done = asyncio.Event()

        async def write() -> None:
            number = 100
            while not done.is_set():
                await commit(writer, run_appends(number))
                number += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            try:
                async with opened_to_read(url_for(path)) as source:
                    copied = await back_up(source, file)
            finally:
                done.set()
        whole = await events_of(writer)
    assert {each.name for each in tmp_path.iterdir()} >= {"backup.db"}
    assert not [each.name for each in tmp_path.iterdir() if ".part" in each.name]
    async with opened_to_read(url_for(file)) as backup:
        result = await verify(backup)
        assert (result.sound, result.head, result.log_id) == (True, copied.head, copied.source)
        assert await events_of(backup) == whole[: copied.head]


async def test_a_backup_that_is_opened_is_another_history(tmp_path: Path) -> None:
    source, file = MemoryBackend(), tmp_path / "backup.db"
    await fill(source)
    await back_up(source, file)
    async with Log.open(source) as log:
        cursor = await cursor_at(log, Position(5))
    async with opened(url_for(file)) as backend:
        assert (backend.restored, backend.log_id) == (await source.head(), f"{source.log_id}.2")
    async with Log.open(url_for(file)) as log:
        with pytest.raises(CursorRefused):
            await check_cursor(log, cursor)


async def test_a_backup_replaces_nothing_and_one_that_fails_leaves_nothing(tmp_path: Path) -> None:
    records, file = MemoryRecords(), tmp_path / "backup.db"
    source = MemoryBackend(records)
    file.write_text("somebody's")
    with pytest.raises(UsageError, match="is there already"):
        await back_up(source, file)
    assert file.read_text() == "somebody's"
    file.unlink()
    await source.commit([new(StreamName("default/run/a"))])

    class Broken(MemoryBackend):
        async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
            raise LogUnusable("the disk is gone")

    with pytest.raises(LogUnusable):
        await back_up(Broken(records), file)
    assert list(tmp_path.iterdir()) == []


async def test_two_backups_into_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    source = MemoryBackend()
    await fill(source)

    class Doubled(MemoryBackend):
        """While it is read for one backup, another into the same file begins."""

        refused = 0

        async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
            with pytest.raises(UsageError, match="another process is writing"):
                await back_up(source, file)
            self.refused += 1
            return await super().read_kept(after=after, limit=limit)

    doubled = Doubled()
    await fill(doubled)
    await back_up(doubled, file)
    assert doubled.refused > 0
    assert [each.name for each in tmp_path.iterdir()] == ["backup.db"]
    async with opened_to_read(url_for(file)) as backend:
        assert (await verify(backend)).events == len(await events_of(doubled))


async def test_a_file_that_came_while_a_backup_was_written_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "backup.db"

    class Slow(MemoryBackend):
        async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
            file.write_text("somebody's")
            return await super().read_kept(after=after, limit=limit)

    source = Slow()
    await fill(source)
    with pytest.raises(UsageError, match="is there already"):
        await back_up(source, file)
    assert (file.read_text(), len(list(tmp_path.iterdir()))) == ("somebody's", 1)


async def test_a_backup_into_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    source = MemoryBackend()
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        await back_up(source, tmp_path / "nowhere" / "backup.db")
