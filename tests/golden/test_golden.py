"""This version reads what every release wrote, and sees the same run in it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from playhead.core.events import EVENT_TYPES
from playhead.core.replay import replay
from playhead.core.views import run_view
from playhead.errors import UnknownEvent
from playhead.wire import recorded_from_wire

HERE = Path(__file__).parent
RELEASES = sorted(path.name.removesuffix(".log.jsonl") for path in HERE.glob("*.log.jsonl"))


@pytest.mark.parametrize("release", RELEASES)
def test_a_log_of_this_release_still_folds_to_the_run_that_it_was(release: str) -> None:
    lines = (HERE / f"{release}.log.jsonl").read_bytes().splitlines()
    state = replay(recorded_from_wire(line) for line in lines)
    assert state is not None
    assert run_view(state).model_dump_json(indent=1) + "\n" == (HERE / f"{release}.show.json").read_text()


def test_there_is_a_golden_log_and_it_holds_a_death_and_a_resume() -> None:
    assert RELEASES
    types = {orjson.loads(line)["type"] for line in (HERE / f"{RELEASES[0]}.log.jsonl").read_bytes().splitlines()}
    assert {"run.lost", "task.retrying", "task.failed", "task.mapped", "fact.recorded", "timer.fired"} <= types
    assert types <= set(EVENT_TYPES)


def test_an_event_of_an_unknown_type_is_an_error_and_never_skipped() -> None:
    line = (HERE / f"{RELEASES[0]}.log.jsonl").read_bytes().splitlines()[0]
    fields = orjson.loads(line)
    for change in ({"type": "run.invented"}, {"schema": 99}):
        with pytest.raises(UnknownEvent):
            replay([recorded_from_wire(orjson.dumps({**fields, **change}))])
