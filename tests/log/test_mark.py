"""A log that is an older copy of itself is known by its mark: it gets a new id, and a log that is gone is not begun again in silence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from playhead.core.names import LogId, Position
from playhead.errors import CursorRefused, LogUnusable
from playhead.log import Log
from playhead.log.cursor import check_cursor, cursor_at
from playhead.log.sqlite.backend import SqliteBackend
from tests.log.samples import new


async def grown(path: Path, count: int) -> LogId:
    """The log, with so many appends more."""
    backend = await SqliteBackend.open(path)
    for _ in range(count):
        await backend.commit([new()])
    log_id = backend.log_id
    await backend.close()
    return log_id


async def restored(path: Path) -> Position | None:
    backend = await SqliteBackend.open(path)
    try:
        return backend.restored
    finally:
        await backend.close()


async def test_a_log_that_goes_on_is_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    first = await grown(path, 3)
    assert await grown(path, 2) == first
    assert await restored(path) is None


async def test_an_older_copy_is_another_history_and_stays_one(tmp_path: Path) -> None:
    path, copy = tmp_path / "log.db", tmp_path / "copy"
    first = await grown(path, 3)
    shutil.copy(path, copy)
    await grown(path, 2)
    shutil.copy(copy, path)
    assert await restored(path) == 5
    assert await restored(path) == 5, "until somebody has done what it asks for"

    backend = await SqliteBackend.open(path)
    second = backend.log_id
    assert second != first
    await backend.commit([new()])
    assert backend.restored == 5
    await backend.accept_restored()
    assert backend.restored is None
    await backend.close()
    assert await grown(path, 4) == second

    shutil.copy(copy, path)  # once more, and now it has no fewer positions than its successor had in the beginning
    assert await restored(path) == 8
    third = await grown(path, 0)
    assert third not in (first, second)


async def test_a_copy_is_known_by_its_history_also_where_it_reaches_further(tmp_path: Path) -> None:
    path, early, late = tmp_path / "log.db", tmp_path / "early", tmp_path / "late"
    await grown(path, 1)
    shutil.copy(path, early)
    await grown(path, 9)
    shutil.copy(path, late)
    shutil.copy(early, path)
    backend = await SqliteBackend.open(path)
    await backend.accept_restored()
    await backend.close()
    shutil.copy(late, path)
    assert await restored(path) is not None, (
        "ten positions of the first history are not what the second one has forgotten"
    )


async def test_cursors_of_what_was_forgotten_are_refused_however_well_they_fit(tmp_path: Path) -> None:
    path, copy = tmp_path / "log.db", tmp_path / "copy"
    await grown(path, 3)
    shutil.copy(path, copy)
    async with Log.open(await SqliteBackend.open(path)) as log:
        shared = await cursor_at(log, Position(3))
        await log.append(new(append_id="once"))
        forgotten = await cursor_at(log, Position(4))
    shutil.copy(copy, path)
    async with Log.open(await SqliteBackend.open(path)) as log:
        await log.append(new(append_id="once"))  # the same request again, at the same position
        for cursor in (forgotten, shared):
            with pytest.raises(CursorRefused):
                await check_cursor(log, cursor)
        assert await check_cursor(log, await cursor_at(log, Position(4))) == 4


async def test_a_log_that_is_gone_is_told_and_not_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await grown(path, 3)
    path.unlink()
    with pytest.raises(LogUnusable, match=r"is gone; it had come to position 3") as gone:
        await SqliteBackend.open(path)
    assert "log.db.mark" in (gone.value.hint or "")
    assert not path.exists()
    (tmp_path / "log.db.mark").unlink()
    assert await restored(path) is None


async def test_a_log_that_nobody_wrote_to_may_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await grown(path, 0)
    path.unlink()
    assert await restored(path) is None


@pytest.mark.parametrize("said", ["", "nonsense", "a b c", "\x00" * 200])
async def test_a_mark_that_says_nothing_is_none(tmp_path: Path, said: str) -> None:
    path = tmp_path / "log.db"
    await grown(path, 3)
    (tmp_path / "log.db.mark").write_text(said)
    assert await restored(path) is None
    await grown(path, 1)
    assert (tmp_path / "log.db.mark").read_text().split()[1:3] == ["1", f"{4:020}"]


async def test_the_mark_of_another_log_says_nothing_of_this_one(tmp_path: Path) -> None:
    path, other = tmp_path / "log.db", tmp_path / "other.db"
    await grown(path, 1)
    await grown(other, 9)
    shutil.copy(tmp_path / "other.db.mark", tmp_path / "log.db.mark")
    assert await restored(path) is None


async def test_a_mark_that_cannot_be_written_costs_the_log_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    (tmp_path / "log.db.mark").mkdir()
    await grown(path, 2)
    await grown(path, 2)
