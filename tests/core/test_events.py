"""The vocabulary: what is written reads back, what is not ours is refused without a word of it, and no text is free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from playhead.core import events as ev
from playhead.errors import UnknownEvent
from tests.core.samples import fields_of

TYPES = list(ev.EVENT_TYPES.values())


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.TYPE)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_event_reads_back_as_it_was(cls: type[ev.Event], data: st.DataObject) -> None:
    event = cls.model_validate(data.draw(fields_of(cls)))
    written = ev.encode(event)
    assert ev.decode(cls.TYPE, cls.SCHEMA, written) == event
    assert ev.encode(ev.decode(cls.TYPE, cls.SCHEMA, written)) == written


def test_every_event_class_is_in_the_vocabulary_under_a_name_of_its_own() -> None:
    assert {cls for cls in _subclasses(ev.Event) if hasattr(cls, "TYPE")} == set(TYPES)


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.TYPE)
def test_no_event_has_room_for_free_text(cls: type[ev.Event]) -> None:
    schema = cls.model_json_schema()
    for where, node in _nodes(schema, cls.TYPE):
        kind = node.get("type")
        if kind == "string":
            assert "pattern" in node or "enum" in node, f"{where} is free text"
        elif kind == "object":
            assert node.get("additionalProperties") is False, f"{where} takes any field"
        elif kind == "integer":
            assert "minimum" in node, f"{where} has no lower bound"
            assert "maximum" in node, f"{where} has no upper bound"
        else:
            assert kind in ("array", "boolean", "null", None), f"{where} is a {kind}"


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.TYPE)
@pytest.mark.parametrize("text", ["two words", "line\n", "caf\u00e9", "<html>", '"', "{}", "=", "%20", "\\"])
def test_no_pattern_lets_prose_through(cls: type[ev.Event], text: str) -> None:
    """Names are words; only a cron expression has spaces, between its fields."""
    for where, node in _nodes(cls.model_json_schema(), cls.TYPE):
        if "pattern" in node and not (where.endswith(".cron") and text == "two words"):
            pattern = TypeAdapter(Annotated[str, Field(pattern=node["pattern"])])
            with pytest.raises(ValidationError):
                pattern.validate_python(text)


@pytest.mark.parametrize(
    ("type_name", "schema", "data"),
    [
        ("run.ready", 1, {"canary": 1}),
        ("run.late", 1, {"epoch": 1, "outcome": "canary word"}),
        ("run.late", 1, {"epoch": "canary", "outcome": "x"}),
        ("flow.registered", 1, {"flow": "x", "schedule": {"canary": {"canary": "canary"}}}),
        ("run.ready", 2, {}),
        ("run.ready", 0, {}),
    ],
)
def test_what_does_not_fit_is_refused_without_a_word_of_it(type_name: str, schema: int, data: dict[str, Any]) -> None:
    with pytest.raises(UnknownEvent) as refused:
        ev.decode(type_name, schema, data)
    assert "canary" not in str(refused.value)


def test_an_unknown_type_is_an_error_and_says_what_to_do() -> None:
    with pytest.raises(UnknownEvent, match="upgrade"):
        ev.decode("run.teleported", 1, {})


def _subclasses(cls: type[ev.Event]) -> Iterator[type[ev.Event]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _nodes(node: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield where, node
    for name, part in {**node.get("properties", {}), **node.get("$defs", {})}.items():
        yield from _nodes(part, f"{where}.{name}")
    if "items" in node:
        yield from _nodes(node["items"], f"{where}[]")
    for part in node.get("anyOf", ()):
        yield from _nodes(part, where)
