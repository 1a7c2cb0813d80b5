"""Replay: the envelope's way to a state, and that a state depends on its events only."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from msgspec.structs import replace

from playhead.core import events as ev
from playhead.core.names import Epoch, Position, Seq, StreamName, Version
from playhead.core.pieces import joined, piece_of, whole_piece
from playhead.core.replay import event_of, replay, to_append
from playhead.core.state import RunStatus
from playhead.core.views import run_summary, run_view
from playhead.errors import UnknownEvent
from playhead.ports.store import Recorded
from tests.core.samples import NOW, RUN, RUNNING, after, task_events

STORY = (
    *RUNNING,
    ev.JournalAdopted(at=1),
    *(ev.TaskSubmitted(at=1, key=f"load~{n}", name="load") for n in range(2, 20)),
    ev.TaskMapped(at=1, key="parse", name="parse", width=50, after=("load~2", "load~3"), each=()),
    *task_events("page")[:3],
    *(event for n in (7, 3, 11) for event in task_events(f"parse.{n}")[1:3]),
    ev.RunSucceeded(at=9, mac="m" * 22, size=1),
)


def recorded(events: tuple[ev.Event, ...]) -> list[Recorded]:
    first = len(RUNNING)
    return [
        Recorded(
            position=Position(index + 1),
            stream=StreamName(f"default/run/{RUN}"),
            version=Version(index + 1),
            recorded_at=NOW,
            type=event.TYPE,
            schema=event.SCHEMA,
            actor="server",
            data=to_append(event).data,
            append_id="a",
            index=index,
            epoch=Epoch(1) if index >= first else None,
            seq=Seq(index - first) if index >= first else None,
        )
        for index, event in enumerate(events)
    ]


def test_replay_from_any_version_on_gives_what_was_lived() -> None:
    log = recorded(STORY)
    lived = after(*STORY)
    for cut in range(len(log) + 1):
        assert replay(log[cut:], replay(log[:cut])) == lived


def test_a_view_shows_each_task_once_in_the_order_it_was_asked_for() -> None:
    view = run_view(after(*STORY))
    assert view.state is RunStatus.SUCCEEDED
    assert len(view.tasks) == 18 + 50 + 1
    assert [task.key for task in view.tasks[:3]] == ["load~2", "load~3", "load~4"]
    assert [task.key for task in view.tasks[18:30]] == [f"parse.{n}" for n in range(12)]
    assert view.counts == {"submitted": 18 + 47, "succeeded": 4}
    assert run_view(after(*STORY), tasks=False).tasks == ()


def test_an_event_of_a_newer_version_stops_the_replay() -> None:
    log = recorded(STORY)
    newer = replace(log[5], schema=2)
    with pytest.raises(UnknownEvent):
        event_of(newer)


def show_everything() -> None:
    """Run in other processes: prints what a view and a summary of the story are, as lived and as kept, byte by byte."""
    state = after(*STORY)
    kept = joined([whole_piece(after(*STORY[:30])), piece_of(state, {task.key for task in state.tasks.values()})])
    for shown in (state, kept):
        sys.stdout.write(run_view(shown).model_dump_json() + run_summary(shown).model_dump_json())


def test_the_order_of_hashes_changes_nothing() -> None:
    shown = {
        subprocess.run(
            [sys.executable, "-c", "from tests.core.test_replay import show_everything; show_everything()"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=50,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(shown) == 1
    assert len(shown.pop()) > 1000
