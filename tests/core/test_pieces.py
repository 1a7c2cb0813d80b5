"""Pieces of a state, joined, are the state (S8); and nobody changes what states say without giving them another form."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead.core import events as ev
from playhead.core.folding import fold
from playhead.core.names import TaskKey
from playhead.core.packed import PackedTasks, pack
from playhead.core.pieces import joined, piece_of, whole_piece
from playhead.core.replay import replay
from playhead.core.state import TaskState, TaskStatus
from playhead.core.table import TaskTable
from playhead.core.views import run_view
from playhead.wire import recorded_from_wire
from tests.core.samples import RUNNING, after, task_events
from tests.core.test_folding import ANY_EVENT, legal_story

GOLDEN = Path(__file__).parent.parent / "golden" / "0.1.0.log.jsonl"


@given(events=st.lists(ANY_EVENT, max_size=40), cuts=st.sets(st.integers(1, 40)), whole=st.sets(st.integers(1, 40)))
@settings(max_examples=200, deadline=None)
def test_joined_at_any_cut_and_gone_on_from_there_they_are_the_state_that_was_lived(
    events: list[ev.RunEvent], cuts: set[int], whole: set[int]
) -> None:
    story, states = legal_story(events)
    pieces = [whole_piece(states[0])]
    changed: set[TaskKey] = set()
    for count, (event, _) in enumerate(story, start=1):
        if isinstance(event, ev.TaskEvent):
            changed.add(TaskKey(event.key))
        if count in whole:
            pieces = [whole_piece(states[count])]
            changed = set[TaskKey]()
        elif count in cuts:
            pieces = [*pieces, piece_of(states[count], changed)]
            changed = set[TaskKey]()
        if not changed:
            kept = joined(pieces)
            if kept.version == states[count].version:
                assert kept == states[count]
                assert run_view(kept).model_dump_json() == run_view(states[count]).model_dump_json()
                assert fold(story[count:], kept) == states[-1]


def test_many_tasks_are_written_in_parts_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.core.pieces.PART_TASKS", 7)
    state = after(*RUNNING, *(event for n in range(50) for event in task_events(f"parse~{n}")[:2]))
    assert joined([whole_piece(state)]) == state


def test_a_state_that_is_joined_reads_only_the_tasks_that_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """All others cannot be read here."""

    def packed(task: TaskState) -> bytes:
        return pack(task) if task.key == "parse~7" else b"\xc1"

    monkeypatch.setattr("playhead.core.pieces.pack", packed)
    submitted = [event for n in range(50) for event in task_events(f"parse~{n}")[:1]]
    state = joined([whole_piece(after(*RUNNING, *submitted))])
    assert state.count(TaskStatus.SUBMITTED) == 50
    state = after(task_events("parse~7")[1], state=state)
    assert state.count(TaskStatus.RUNNING) == 1
    with pytest.raises(msgspec.DecodeError):
        state.tasks.get(TaskKey("parse~8"))


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x97\x01", whole_piece(after(*RUNNING))[:-1]])
def test_what_is_no_piece_is_a_value_error(damage: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        joined([damage])


@given(
    kept=st.sets(st.integers(0, 200)),
    steps=st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=120), max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_a_table_is_the_dict_that_its_changes_make(kept: set[int], steps: list[list[int]]) -> None:
    """Whichever of its layers a change goes to; and no change reaches a table that was taken before."""
    order = 0
    expected = {key: TaskState(key, "kept", 0, TaskStatus.RUNNING) for key in (TaskKey(f"a~{n}") for n in kept)}
    table = TaskTable(packed=PackedTasks({key: pack(task) for key, task in expected.items()}))
    taken: list[tuple[TaskTable, dict[TaskKey, TaskState]]] = []
    for step in steps:
        changed: dict[TaskKey, TaskState] = {}
        for number in step:
            order += 1
            key = TaskKey(f"a~{number}")
            changed[key] = TaskState(key, "a", order, TaskStatus.SUBMITTED)
        taken.append((table, dict(expected)))
        table, expected = table.updated(dict(changed)), expected | changed
        taken.append((table, dict(expected)))
    for before, was in taken:
        assert dict(before.items()) == was
        assert sorted(task.key for task in before.values()) == sorted(was)
        assert {task.key: task for task in before.those(TaskKey(f"a~{number}") for number in range(300))} == was
        assert all(key in before and before.get(key) == task for key, task in was.items())
        assert TaskKey("a~201") not in before
        assert before.get(TaskKey("a~201")) is None
        assert len(was) <= before.held <= 3 * len(was)
        assert bool(before) == bool(was)
        assert before == TaskTable(dict(before.items()))


# What the golden log folds to. Where it has changed: a fold that gives another state for the same events needs another number in
# `pieces.RULES`, else servers go on from snapshots that were made by the old rules; a new field makes another form by itself. Then the
# new digest is written here.
FOLDED = "e4c02ce3d42a68a0"


def test_the_rules_of_the_fold_have_not_changed_in_silence() -> None:
    state = replay(recorded_from_wire(line) for line in GOLDEN.read_bytes().splitlines())
    assert state is not None
    tasks, maps = sorted(state.tasks.items()), sorted(state.maps.items())
    said = msgspec.json.encode([state.head, tasks, maps, state.counts, state.reported, state.asked])
    assert hashlib.sha256(said).hexdigest()[:16] == FOLDED
