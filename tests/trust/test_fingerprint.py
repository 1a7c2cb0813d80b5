"""Fingerprints: equal for equal values in any process, different for different ones, and open about what they do not see."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from playhead.trust import fingerprint as module
from playhead.trust.fingerprint import DIGEST_BYTES, MAX_DESCRIBED, describe, fingerprint, opaque_parts


@dataclass
class Point:
    x: Any
    y: Any = 0


@dataclass
class Spot:
    x: Any
    y: Any = 0


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: Any


class Colour(Enum):
    RED = 1
    BLUE = 2


class Level(IntEnum):
    LOW = 1


class Pair(NamedTuple):
    left: int
    right: int


def _berlin(fold: int = 0) -> datetime:
    return datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)


def _nested(depth: int, inside: object) -> object:
    value = inside
    for _ in range(depth):
        value = [value]
    return value


DIFFERENT: list[object] = [
    None, True, False, 0, 1, -1, 16, 0.0, -0.0, 1.0, 1.5, float("inf"), 1j, "", "1", "a", b"", b"a", bytearray(b"a"),
    [], [1], ["1"], [1, 2], [2, 1], [[1], 2], [1, [2]], (), (1,), (1, 2), {}, {"a": 1}, {"a": 2}, {"b": 1}, {1: "a"},
    {"a": {"b": 1}}, set[int](), {1}, {1, 2}, {(1, 2)}, ["a", "b"], ["ab"], ["a" * 100], ["a" * 101], Point(1), Point(2), Spot(1),
    Point(0, 1), Model(a=1), Model(a=2), Model.model_validate({"a": 1, "b": 2}), Colour.RED, Colour.BLUE, Level.LOW, Pair(1, 2), Pair(2, 1),
    datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    datetime(2025, 1, 1, tzinfo=UTC), _berlin(), _berlin(fold=1), date(2025, 1, 1), time(1), time(1, fold=1),
    timedelta(1), timedelta(seconds=1), Decimal(1), Decimal("1.0"), UUID(int=1), UUID(int=2), Path("a"), Path("b"),
    [object()], [object(), 1], [1, object()], {"a": object()}, Point(object()), _nested(63, 1), _nested(63, 2),
]  # fmt: skip


def test_different_values_have_different_fingerprints() -> None:
    seen = {fingerprint(value) for value in DIFFERENT}
    assert None not in seen
    assert len(seen) == len(DIFFERENT)
    assert {len(digest or b"") for digest in seen} == {DIGEST_BYTES}


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _rebuilt(value: Any) -> Any:
    """An equal value made of other objects, its dictionaries filled in the other order."""
    if isinstance(value, dict):
        return {key: _rebuilt(value[key]) for key in reversed(value)}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] — of any shape
    if isinstance(value, list):
        return [_rebuilt(item) for item in value]  # pyright: ignore[reportUnknownVariableType] — of any shape
    return value


@given(json_like)
def test_equal_values_have_equal_fingerprints(value: object) -> None:
    assert fingerprint(value) == fingerprint(_rebuilt(value)) is not None


@given(json_like)
def test_the_short_way_for_small_plain_values_leads_to_the_same_place(value: object) -> None:
    short = module._plainly(value, module.PLAIN_DEPTH)  # pyright: ignore[reportPrivateUsage]  # the two must agree
    assert short in (None, module._Canonical().encode(value))  # pyright: ignore[reportPrivateUsage]  # as above


def test_what_flows_pass_most_takes_the_short_way() -> None:
    small: list[Any] = [[[1, "a"], {}], [[[1.5, None]], {"b": b"c"}]]
    for value in small:
        assert module._plainly(value, module.PLAIN_DEPTH) is not None  # pyright: ignore[reportPrivateUsage]  # as above
    for value in (Point(1), [Point(1)], {"a": {1}}, {Point: 1}, list(range(100)), _nested(5, 1)):
        assert module._plainly(value, module.PLAIN_DEPTH) is None  # pyright: ignore[reportPrivateUsage]  # as above


def _filled_backwards(value: set[object]) -> set[object]:
    """An equal set whose order differs where its members share a place in the table."""
    return {*list(value)[::-1]}


@given(st.sets(st.text() | st.integers() | st.binary()))
def test_a_set_s_order_does_not_count(value: set[object]) -> None:
    assert fingerprint(value) == fingerprint(_filled_backwards(value))
    assert fingerprint(frozenset(value)) != fingerprint(list(value))


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "from playhead.trust.fingerprint import fingerprint\n"
        "print(fingerprint({'s': {'x', 'y', 'z', (1, 'a')}, 'n': [1.5, None, b'b'], 'd': {'k': 'v', 'j': 2}}).hex())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout
        for seed in ("0", "1", "77")
    }  # fmt: skip
    assert len(seen) == 1


def test_the_format_is_kept() -> None:
    """What an earlier version recorded must compare equal in a later one."""
    value = {"path": "/data/a.csv", "columns": [1, 2.5, None, True], "when": date(2025, 1, 1)}
    digest = fingerprint(value)
    assert digest is not None
    assert digest.hex() == "db1c80517603b4546e42d4ec4ff36555"


class TestOpaque:
    @pytest.mark.parametrize(
        "value", [object(), threading.Lock(), len, Point, lambda: None, type("S", (str,), {})("x"), iter([])]
    )
    def test_what_has_no_canonical_form(self, value: object) -> None:
        assert fingerprint(value) is None
        assert opaque_parts(value) == ("",)

    def test_only_its_place_counts(self) -> None:
        assert fingerprint([object(), 1]) == fingerprint([threading.Lock(), 1])
        assert fingerprint([object(), 1]) != fingerprint([object(), 2])
        assert fingerprint([object(), 1]) != fingerprint(["?", 1])

    def test_its_place_is_told(self) -> None:
        value = {"rows": [1, Point(threading.Lock())], "s": {object()}, 3: len}
        assert set(opaque_parts(value)) == {"['rows'][1].x", "['s']{…}", "[3]"}
        assert opaque_parts({"a": [1]}) == ()

    def test_what_holds_itself(self) -> None:
        circle: list[object] = [1]
        circle.append(circle)
        circle.append(circle)
        assert opaque_parts(circle) == ("[1]", "[2]")
        assert fingerprint(circle) is not None

    def test_what_is_too_deep(self) -> None:
        assert fingerprint(_nested(70, 1)) == fingerprint(_nested(80, 2))
        assert opaque_parts(_nested(70, 1)) == ("[0]" * 64,)

    def test_what_is_too_much_stops_early(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_PARTS", 10)
        monkeypatch.setattr(module, "PLAIN_WIDTH", 5)
        assert fingerprint(list(range(9))) is not None
        assert fingerprint(list(range(10))) is None
        assert opaque_parts(list(range(10))) == ("",)
        doubling: object = 1
        for _ in range(60):
            doubling = [doubling, doubling]
        assert fingerprint(doubling) is None


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, "3"),
        ("a\nb", r"'a\nb'"),
        ([1, "x"], "[1, 'x']"),
        (object(), "<object>"),
        (Broken(), "<Broken>"),
        ([object(), Broken()], "[<object>, <Broken>]"),
        (Point(1), "Point(x=1, y=0)"),
    ],
)
def test_a_value_is_described_in_one_line(value: object, told: str) -> None:
    assert describe(value) == told


@given(json_like)
def test_a_description_is_short(value: object) -> None:
    assert len(describe([value, value, value])) <= MAX_DESCRIBED
    assert "\n" not in describe(value)
