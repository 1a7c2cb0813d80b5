"""Cursors: their text, and when they are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.core.names import LogId, Position
from playhead.errors import CursorRefused
from playhead.log import Cursor, Log, check_cursor, cursor_at
from playhead.log.cursor import mark_of
from playhead.log.memory import MemoryBackend, MemoryRecords
from tests.log.samples import new


@given(
    st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
    st.integers(0, 2**63 - 1),
    st.one_of(st.just(""), st.text(min_size=1).map(lambda text: mark_of(text.encode("utf-8", "replace").decode()))),
)
def test_the_text_of_a_cursor_is_the_cursor(log_id: str, position: int, mark: str) -> None:
    cursor = Cursor(LogId(log_id), Position(position), mark)
    assert Cursor.parse(str(cursor)) == cursor
    assert str(cursor).isascii()
    assert str(cursor).isprintable()


@pytest.mark.parametrize(
    "text", ["", "x", "1:2", "log:-1:00000000", "log:1:xyz", "log:1:00000000:", "log:1:00000000\n", "a b:1:"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(CursorRefused, match="is not a cursor"):
        Cursor.parse(text)


async def test_a_cursor_at_any_position_is_taken_again() -> None:
    async with Log.open("memory:") as log:
        await log.append(new(count=3, append_id="x:y\n☃"))
        await log.append(new())
        for position in range(5):
            cursor = await cursor_at(log, Position(position))
            assert await check_cursor(log, Cursor.parse(str(cursor))) == position
        events = (await log.read_all(after=Position(0))).events
        assert [Cursor.at(log.log_id, event) for event in events] == [
            await cursor_at(log, event.position) for event in events
        ]


async def test_a_cursor_of_another_log_is_refused() -> None:
    async with Log.open("memory:") as one, Log.open("memory:") as other:
        for log in (one, other):
            await log.append(new(append_id="the same"))
        with pytest.raises(CursorRefused, match=f"of another log, this is log {other.log_id}"):
            await check_cursor(other, await cursor_at(one, Position(1)))


async def test_a_cursor_beyond_the_head_is_refused() -> None:
    async with Log.open("memory:") as log:
        await log.append(new())
        with pytest.raises(CursorRefused, match="at position 2, the log ends at 1"):
            await check_cursor(log, Cursor(log.log_id, Position(2), "00000000"))


async def test_a_cursor_from_before_a_restore_is_refused() -> None:
    """The copy kept its id and went on differently."""
    log_id = LogId("kept")
    async with Log.open(MemoryBackend(MemoryRecords(log_id))) as lost:
        await lost.append(new(append_id="shared"))
        await lost.append(new(append_id="1.1"))
        shared, cursor = await cursor_at(lost, Position(1)), await cursor_at(lost, Position(2))
    async with Log.open(MemoryBackend(MemoryRecords(log_id))) as restored:
        await restored.append(new(append_id="shared"))
        await restored.append(new(append_id="1.2"))
        assert await check_cursor(restored, shared) == 1
        with pytest.raises(CursorRefused, match="another event"):
            await check_cursor(restored, cursor)
