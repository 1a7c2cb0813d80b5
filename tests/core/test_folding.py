"""Folding many events at once is folding them one by one, whether they are models or lean ones; and lean events are the models'."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead.core import events as ev
from playhead.core.folding import Folding, evolve
from playhead.core.lean import LeanEvent, lean_event
from playhead.core.lifecycle import Stamp
from playhead.core.names import Epoch
from playhead.core.state import RunState
from playhead.errors import IllegalEvent, UnknownEvent
from tests.core.samples import NOW, RUN_EVENTS, RUNNING, after, fields_of, runner_events, task_events

ANY_EVENT = st.one_of(runner_events(), st.sampled_from(RUN_EVENTS))

Story = list[tuple[ev.Event, Stamp]]


def lean(event: ev.Event) -> LeanEvent | ev.Event:
    return lean_event(event.TYPE, event.SCHEMA, ev.encode(event))


def legal_story(events: list[ev.RunEvent]) -> tuple[Story, list[RunState]]:
    """Those of the events that are allowed where they come, and the state after each, evolved one by one."""
    state, story = after(*RUNNING), Story()
    states = [state]
    for event in events:
        numbered = isinstance(event, ev.RunnerEvent)
        stamp = Stamp(NOW, Epoch(1), state.next_seq(1)) if numbered else Stamp(NOW)
        try:
            state = evolve(state, event, stamp)
        except IllegalEvent:
            continue
        story.append((event, stamp))
        states.append(state)
    return story, states


def refusal_of(folding: Folding, event: LeanEvent | ev.Event, stamp: Stamp) -> tuple[str, tuple[str, ...]] | None:
    try:
        folding.add(event, *stamp)
    except IllegalEvent as refusal:
        return refusal.message, refusal.story
    return None


@given(events=st.lists(ANY_EVENT, max_size=30), cuts=st.sets(st.integers(0, 30)), leanly=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_story_folds_alike_however_it_is_cut(events: list[ev.RunEvent], cuts: set[int], leanly: bool) -> None:
    story, states = legal_story(events)
    folding = Folding(states[0])
    for count, (event, stamp) in enumerate(story):
        if count in cuts:
            assert folding.state() == states[count], "a state that is taken on the way is what was lived until then"
            folding = Folding(folding.state()) if count % 2 else folding
        folding.add(lean(event) if leanly else event, *stamp)
    assert folding.state() == states[-1]


@given(events=st.lists(ANY_EVENT, max_size=12), wrong=ANY_EVENT, leanly=st.booleans())
@settings(max_examples=200, deadline=None)
def test_what_is_refused_is_refused_in_the_same_words(events: list[ev.RunEvent], wrong: ev.Event, leanly: bool) -> None:
    story, states = legal_story(events)
    folding = Folding(states[0])
    for event, stamp in story:
        folding.add(event, *stamp)
    stamp = Stamp(NOW, Epoch(1), states[-1].next_seq(1)) if isinstance(wrong, ev.RunnerEvent) else Stamp(NOW)
    assert refusal_of(folding, lean(wrong) if leanly else wrong, stamp) == refusal_of(Folding(states[-1]), wrong, stamp)


def test_a_state_that_was_taken_is_not_touched_by_what_comes_after() -> None:
    submitted, begun, succeeded, *_ = task_events("parse")
    folding = Folding(after(*RUNNING))
    folding.add(submitted, NOW)
    taken = folding.state()
    folding.add(begun, NOW)
    folding.add(succeeded, NOW)
    assert taken == evolve(after(*RUNNING), submitted, Stamp(NOW))
    assert folding.state() != taken


@pytest.mark.parametrize("model", ev.EVENT_TYPES.values(), ids=list(ev.EVENT_TYPES))
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_lean_event_is_its_model(model: type[ev.Event], data: st.DataObject) -> None:
    fields = data.draw(fields_of(model))
    made, event = lean_event(model.TYPE, model.SCHEMA, fields), ev.decode(model.TYPE, model.SCHEMA, fields)
    assert isinstance(made, LeanEvent)
    assert made.TYPE == model.TYPE
    assert msgspec.json.decode(msgspec.json.encode(made)) == event.model_dump(mode="json")
    for name in model.model_fields:
        field = getattr(made, name)
        assert type(field) is type(getattr(event, name)) or isinstance(field, msgspec.Struct)


WRONG: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("task.vanished", 1, {}),
    ("task.started", 2, {"at": 1, "key": "a"}),
    ("task.started", 1, {"at": 1}),
    ("task.started", 1, {"at": -1, "key": "a"}),
    ("task.started", 1, {"at": 1, "key": 7}),
    ("task.started", 1, {"at": 1, "key": "a", "colour": "red"}),
    ("task.mapped", 1, {"at": 1, "key": "a", "name": "a", "width": ev.MAX_WIDTH + 1}),
    ("task.failed", 1, {"at": 1, "key": "a", "category": "bored", "mac": "m" * 22}),
    ("journal.adopted", 1, {"at": 1, "cuts": [{"epoch": 1, "batches": 1, "records": -1}]}),
)


@pytest.mark.parametrize(("type_name", "schema", "data"), WRONG)
def test_what_no_model_takes_is_named_as_the_model_names_it(type_name: str, schema: int, data: dict[str, Any]) -> None:
    with pytest.raises(UnknownEvent) as told:
        ev.decode(type_name, schema, data)
    with pytest.raises(UnknownEvent) as again:
        lean_event(type_name, schema, data)
    assert again.value.message == told.value.message


def test_data_of_an_older_schema_comes_as_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.core.lean._made", {})
    monkeypatch.setattr(ev.TaskStarted, "SCHEMA", 2)
    monkeypatch.setitem(ev.UPCASTERS, ("task.started", 1), lambda data: {**data, "key": data["task"], "task": None})
    with pytest.raises(UnknownEvent, match="an unknown field"):
        lean_event("task.started", 1, {"at": 1, "task": "a"})
    monkeypatch.setitem(ev.UPCASTERS, ("task.started", 1), lambda data: {"at": data["at"], "key": data["task"]})
    assert lean_event("task.started", 1, {"at": 1, "task": "a"}) == ev.TaskStarted(at=1, key="a")
