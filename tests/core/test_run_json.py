"""The JSON text of a view is its model's, byte for byte, whatever is in it, and in however many parts it is made."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic_core import to_json
from rpds import HashTrieMap

from playhead.core import events as ev
from playhead.core.names import Epoch, Micros, Seq, TaskKey
from playhead.core.run_json import run_json
from playhead.core.state import MapState, Reference, RunState, TaskState, TaskStatus
from playhead.core.table import TaskTable
from playhead.core.views import run_view
from tests.core.samples import NOW, RUNNING, after
from tests.core.test_folding import ANY_EVENT, legal_story


def said(state: RunState, *, tasks: bool = True) -> bytes:
    return b"".join(run_json(state, tasks=tasks))


@given(events=st.lists(ANY_EVENT, max_size=40), tasks=st.booleans(), at_once=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_of_any_story_it_is_what_the_model_is_written_as(events: list[ev.RunEvent], tasks: bool, at_once: int) -> None:
    _, states = legal_story(events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("playhead.core.run_json.PART_ITEMS", at_once)
        assert said(states[-1], tasks=tasks) == to_json(run_view(states[-1], tasks=tasks))


# Names are narrower than this, but a text must not depend on it.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MOMENTS = st.none() | st.integers(0, 4_000_000_000_000_000).map(Micros)


@st.composite
def task_states(draw: st.DrawFn, order: int) -> TaskState:
    return TaskState(
        TaskKey(f"{draw(TEXT)}~{order}"), draw(TEXT), order, draw(st.sampled_from(TaskStatus)),
        tuple(map(TaskKey, draw(st.lists(TEXT, max_size=3)))), draw(st.integers(1, 2**40)), Epoch(1), 0,
        draw(MOMENTS), draw(MOMENTS), None, draw(st.none() | st.sampled_from(ev.FailureCategory)),
        draw(st.none() | st.just(Reference(Epoch(2), Seq(2**40)))), 7,
    )  # fmt: skip


@given(data=st.data(), count=st.integers(0, 5), name=TEXT)
@settings(max_examples=60, deadline=None)
def test_of_any_text_and_moment_it_is_what_the_model_is_written_as(data: st.DataObject, count: int, name: str) -> None:
    tasks = [data.draw(task_states(order)) for order in range(count)]
    mapped = MapState(TaskKey(f"{name}!"), name, count, 3, (TaskKey(name),), ())
    state = replace(
        after(*RUNNING),
        tasks=TaskTable({task.key: task for task in tasks}),
        maps=HashTrieMap({mapped.key: mapped}),
        asked=count + 1,
    )
    assert said(state) == to_json(run_view(state))


def test_no_part_holds_more_than_some_of_the_tasks() -> None:
    submitted = [ev.TaskSubmitted(at=NOW, key=f"parse~{n}", name="parse") for n in range(2_500)]
    mapped = ev.TaskMapped(at=NOW, key="all", name="all", width=10_000)
    parts = list(run_json(after(*RUNNING, *submitted, mapped)))
    assert len(parts) > 12_500 / 500
    assert max(map(len, parts)) < 500 * 200
