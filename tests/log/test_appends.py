"""What an append is, whichever backend keeps it; and that two backends, given the same batches, tell the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpds import HashTrieMap

from playhead.core.names import Position, Version
from playhead.errors import UsageError
from playhead.log import decode, encode, fits, same_body
from playhead.log.memory import MemoryBackend
from playhead.log.sqlite import SqliteBackend
from playhead.ports.store import Append, Expect
from tests.log.samples import new

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), JSON, max_size=4)


@given(OBJECTS)
def test_a_body_is_read_as_it_was_written(data: dict[str, Any]) -> None:
    append = new(count=2, data=data)
    assert decode(encode(append)) == [("task.succeeded", 1, data)] * 2


@given(OBJECTS)
def test_the_order_of_keys_does_not_count(data: dict[str, Any]) -> None:
    turned = dict(reversed(data.items()))
    assert same_body(encode(new(data=data)), encode(new(data=turned)))


def test_what_differs_is_another_body() -> None:
    bodies: list[dict[str, Any]] = [{"a": 1}, {"a": 2}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"b": 1}, {"a": [1]}, {}]
    encoded = [encode(new(data=body)) for body in bodies]
    for i, one in enumerate(encoded):
        assert [same_body(one, other) for other in encoded] == [i == j for j in range(len(bodies))]


def test_mappings_that_are_no_dict_are_objects() -> None:
    assert encode(new(data={"a": HashTrieMap({"b": 1})})) == encode(new(data={"a": {"b": 1}}))


@pytest.mark.parametrize("bad", [object(), {1: 2}, 2**64, "\ud800", b"bytes", {1, 2}, 1j])
def test_what_is_not_json_is_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="not JSON"):
        encode(new(data={"x": bad}))


@pytest.mark.parametrize("body", [b"", b"[", b"{}x", b"[1]", b'[["a"]]', b'[["a", "b", {}]]', b"7"])
def test_other_bytes_are_no_body(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode(body)


@pytest.mark.parametrize(
    ("expected", "actual", "good"),
    [
        (Expect.ANY, 0, True),
        (Expect.ANY, 5, True),
        (Expect.NO_STREAM, 0, True),
        (Expect.NO_STREAM, 1, False),
        (Version(0), 0, True),
        (Version(3), 3, True),
        (Version(3), 4, False),
        (Version(3), 2, False),
    ],
)
def test_what_an_append_expects(expected: Version | Expect, actual: int, good: bool) -> None:
    assert fits(expected, Version(actual)) is good


APPENDS = st.builds(
    new,
    st.sampled_from(["default/run/a", "default/run/b"]),
    st.integers(1, 3),
    expected=st.sampled_from(
        [Expect.ANY, Expect.NO_STREAM, Version(0), Version(1), Version(2), Version(3), Version(5)]
    ),
    append_id=st.sampled_from(["one", "two", "0123456789abcdef0123456789abcdef", "four", "five", "six"]),
    data=st.sampled_from([{"a": 1}, {"a": 2}]),
    epoch=st.sampled_from([None, 1]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(APPENDS, min_size=1, max_size=4), max_size=8), st.integers(1, 5))
async def test_sqlite_tells_what_memory_tells(batches: list[list[Append]], limit: int) -> None:
    """Every outcome and every page, over any batches, with the caches cold or warm."""
    memory = MemoryBackend()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        sqlite = await SqliteBackend.open(path)
        for number, batch in enumerate(batches):
            if number % 3 == 2:
                await sqlite.close()
                sqlite = await SqliteBackend.open(path)
            assert await sqlite.commit(batch) == await memory.commit(batch)
        head = await memory.head()
        assert await sqlite.head() == head
        for after in range(head + 1):
            assert await sqlite.read_all(after=Position(after), limit=limit) == await memory.read_all(
                after=Position(after), limit=limit
            )
        await sqlite.close()
