"""Parameters: what passes comes out as its annotation says, and what does not is named with what was expected and what came."""

from __future__ import annotations

import collections.abc
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field

from playhead.errors import BadParameter
from playhead.flows.flow import Flow, flow
from playhead.flows.parameters import check_parameters

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypeCheckers


@dataclass
class Point:
    x: int


class Model(BaseModel):
    name: str


class Opaque:
    """What pydantic knows nothing of."""


def _explode(value: int) -> int:
    raise RuntimeError("the validator broke")


@flow
def everything(
    n: int,
    text: str = "x",
    numbers: list[int] | None = None,
    lazy: collections.abc.Iterable[int] = (),
    path: Path = Path(),
    day: date = date(2024, 1, 1),
    span: timedelta = timedelta(0),
    opaque: Opaque | None = None,
    point: Point | None = None,
    model: Model | None = None,
    free: Any = None,
    unknown: OnlyForTypeCheckers | None = None,
    some: set[int] = frozenset(),  # type: ignore[assignment]  # as users write it
    positive: Annotated[int, Field(gt=0)] = 1,
    raw: bytes = b"",
    flag: bool = False,
    number: float = 0.0,
    implicit: int = None,  # type: ignore[assignment]  # noqa: RUF013  # as users write it
    exploding: Annotated[int, AfterValidator(_explode)] = 1,
) -> None: ...


def checked(name: str, value: object, *, from_text: bool = False) -> Any:
    others: dict[str, object] = {} if name == "n" else {"n": "1" if from_text else 1}
    return check_parameters(_flow(), {**others, name: value}, from_text=from_text)[name]


def _flow() -> Flow[..., Any]:
    return everything


TEXTS: list[tuple[str, str, object]] = [
    ("n", "5", 5),
    ("n", '"5"', 5),
    ("text", "5", "5"),
    ("text", '"quoted"', "quoted"),
    ("text", "null", "null"),
    ("text", "[1", "[1"),
    ("text", "", ""),
    ("numbers", "[1, 2]", [1, 2]),
    ("numbers", "null", None),
    ("lazy", "[1, 2]", [1, 2]),
    ("path", "/a/b", Path("/a/b")),
    ("day", "2024-02-03", date(2024, 2, 3)),
    ("span", "PT90S", timedelta(seconds=90)),
    ("span", "90", timedelta(seconds=90)),
    ("point", '{"x": 1}', Point(1)),
    ("model", '{"name": "a"}', Model(name="a")),
    ("free", "hello", "hello"),
    ("free", '{"a": [1, null]}', {"a": [1, None]}),
    ("unknown", "anything", "anything"),
    ("some", "[1, 1]", {1}),
    ("positive", "3", 3),
    ("raw", "abc", b"abc"),
    ("flag", "true", True),
    ("flag", "yes", True),
    ("number", "2", 2.0),
    ("number", "inf", float("inf")),
    ("implicit", "null", None),
]


@pytest.mark.parametrize(("name", "text", "value"), TEXTS)
def test_a_text_is_read_as_json_where_it_fits_so_and_as_it_is_elsewhere(name: str, text: str, value: object) -> None:
    found = checked(name, text, from_text=True)
    assert found == value
    assert type(found) is type(value)


BAD: list[tuple[str, object, bool, tuple[str, ...]]] = [
    ("n", "abc", True, ("expected int", "'abc' (str)")),
    ("n", "5.5", True, ("expected int", "fractional")),
    ("n", 5.5, False, ("expected int", "5.5 (float)")),
    ("n", None, False, ("expected int", "None (NoneType)")),
    ("n", [1], False, ("expected int", "[1] (list)")),
    ("text", 5, False, ("expected str", "5 (int)")),
    ("numbers", '[1, "a"]', True, ("expected list[int] | None", "at [1] is 'a' (str)")),
    ("numbers", "abc", True, ("expected list[int] | None",)),
    ("numbers", "[1,2]", False, ("expected list[int] | None",)),
    ("lazy", [1, "x"], False, ("at [1] is 'x'",)),
    ("day", "someday", True, ("expected date",)),
    ("opaque", "x", True, ("an instance of Opaque",)),
    ("opaque", '{"a": 1}', True, ("an instance of Opaque",)),
    ("opaque", Point(1), False, ("an instance of Opaque", "Point(x=1)")),
    ("point", '{"y": 1}', True, ("at ['x']",)),
    ("positive", "-1", True, ("greater than 0",)),
    ("exploding", 2, False, ("raised RuntimeError: the validator broke",)),
    ("free", threading.Lock(), False, ("cannot be sent to a run", "lock")),
    ("lazy", (each for each in (1, 2)), False, ("cannot be sent to a run",)),
]


@pytest.mark.parametrize(("name", "value", "from_text", "told"), BAD)
def test_what_does_not_fit_is_named_with_what_was_expected_and_what_came(
    name: str, value: object, from_text: bool, told: tuple[str, ...]
) -> None:
    with pytest.raises(BadParameter) as caught:
        checked(name, value, from_text=from_text)
    for words in (f"parameter {name!r}", *told):
        assert words in str(caught.value)


def test_defaults_are_filled_in_and_taken_as_they_are() -> None:
    values = check_parameters(_flow(), {"n": 1})
    assert list(values) == list(_flow().signature.parameters)
    assert values["implicit"] is None
    assert checked("implicit", None) is None


def test_a_value_of_the_class_stays_that_object_s_equal() -> None:
    assert checked("point", Point(3)) == Point(3)
    assert isinstance(checked("opaque", Opaque()), Opaque)
    assert checked("lazy", [1, 2]) == [1, 2]


def test_an_unknown_parameter_comes_with_the_nearest_and_all_of_them() -> None:
    with pytest.raises(BadParameter) as caught:
        check_parameters(_flow(), {"n": 1, "pozitive": []})
    told = str(caught.value)
    assert "flow everything has no parameter 'pozitive'" in told
    assert "did you mean 'positive'?" in told
    assert "text: str = 'x'" in told


def test_a_parameter_without_annotation_takes_everything() -> None:
    names: dict[str, Any] = {}
    exec("def bare(free=None): return free", names)
    bare = flow(cast("Callable[..., Any]", names["bare"]))
    assert check_parameters(bare, {"free": "[1]"}) == {"free": "[1]"}
    assert check_parameters(bare, {"free": "[1]"}, from_text=True) == {"free": [1]}


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(BadParameter, match="needs the parameter 'n'"):
        check_parameters(_flow(), {"text": "a"})


def test_a_long_value_is_not_printed_whole() -> None:
    with pytest.raises(BadParameter) as caught:
        checked("n", "a" * 10_000)
    assert len(str(caught.value)) < 400


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_any_json_value_passes_where_nothing_is_annotated_and_comes_back_from_its_text(value: Any) -> None:
    assert checked("free", value) == value
    assert checked("free", json.dumps(value), from_text=True) == value


@given(st.text())
def test_any_text_passes_for_a_str_and_only_the_json_form_of_one_is_read(text: str) -> None:
    assert checked("text", text) == text
    found = checked("text", text, from_text=True)
    assert found == text or json.dumps(found, ensure_ascii=False) == text.strip() or json.loads(text) == found


@given(st.lists(st.integers()))
def test_numbers_cross_as_python_values_and_as_text_alike(numbers: list[int]) -> None:
    assert checked("numbers", numbers) == checked("numbers", json.dumps(numbers), from_text=True) == numbers
