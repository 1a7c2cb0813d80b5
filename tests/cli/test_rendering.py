"""What people see, checked by its content."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from msgspec import structs
from rich.console import Console, RenderableType

from playhead.cli.moments import after, ago, micros_of, micros_since, span, took
from playhead.cli.rendering.events import event_json, event_line
from playhead.cli.rendering.logs import log_line
from playhead.cli.rendering.progress import Bars, Lines, picture
from playhead.cli.rendering.run import failures_page, run_page
from playhead.cli.rendering.steps import Cast, Lane, step_json, step_text, steps_of, steps_table
from playhead.cli.rendering.tally import Tally
from playhead.cli.rendering.values import result_json, result_page, result_text
from playhead.client.logs import LogLine
from playhead.core.events import FailureCategory, LossReason, RunCancelling, RunLost
from playhead.core.replay import replay
from playhead.core.state import TaskStatus
from playhead.core.views import ErrorView, RunView, iso, run_view
from playhead.errors import UsageError
from playhead.ports.server import AgentView
from tests.cli.stories import RUN, Story

NOW = datetime(2027, 1, 15, 8, 0, 10, tzinfo=UTC)  # ten seconds after the stories begin


def shown(page: RenderableType, *, terminal: bool = False, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, force_terminal=terminal)
    console.print(page)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def view_of(story: Story) -> RunView:
    state = replay(story.recorded)
    assert state is not None
    return run_view(state)


# --- a run ----------------------------------------------------------------------------------------------------------


def test_a_run_shows_its_head_and_its_tasks() -> None:
    page = shown(run_page(view_of(Story().begun().submitted("load").done("load").ended()), NOW))
    assert f"crawl  {RUN}  succeeded" in page
    assert "agent brisk-otter · attempt 1 · executor thread" in page
    assert "load  load  succeeded  1" in page


def test_a_narrow_map_has_a_row_for_each_element_and_a_wide_one_a_single_row() -> None:
    narrow = shown(run_page(view_of(Story().begun().mapped("few", 3)), NOW))
    wide = shown(run_page(view_of(Story().begun().mapped("many", 500).done("many.3")), NOW))
    assert all(f"few.{index}  " in narrow for index in range(3))
    assert "many.*  ×500" in wide
    assert "1 succeeded · 499 submitted" in wide
    assert "many.3" not in wide


def test_a_wide_map_still_names_the_elements_that_failed() -> None:
    page = shown(run_page(view_of(Story().begun().mapped("many", 500).started("many.7").failed("many.7")), NOW))
    assert "many.7 " in page
    assert "many.8 " not in page


def test_failures_are_printed_with_their_traceback_and_never_as_markup() -> None:
    view = view_of(Story().begun().submitted("load").started("load").failed("load"))
    error = ErrorView(category=FailureCategory.RAISED, type="KeyError", message="[red]x", traceback="Traceback:\n  y")
    page = shown(failures_page(view.model_copy(update={"tasks": (view.tasks[0].model_copy(update={"error": error}),)})))
    assert "task load, attempt 1  KeyError: [red]x" in page
    assert "  Traceback:" in page


def test_many_failures_are_cut_and_say_so() -> None:
    story = Story().begun().mapped("many", 30)
    for index in range(30):
        story.started(f"many.{index}").failed(f"many.{index}")
    page = shown(failures_page(view_of(story)))
    assert page.count("task many.") == 20
    assert "and 10 failures more" in page


def test_a_run_without_failures_says_so() -> None:
    assert "nothing has failed" in shown(failures_page(view_of(Story().begun())))


# --- steps ----------------------------------------------------------------------------------------------------------


def test_each_event_stands_in_the_lane_of_who_did_it() -> None:
    story = Story().begun().submitted("load").started("load").retrying("load").started("load", 2).succeeded("load", 2)
    lanes = [(step.lane, step.text) for step in steps_of(story.ended().recorded)]
    assert lanes == [
        (Lane.SERVER, "run asked for"),
        (Lane.SERVER, "ready for an agent"),
        (Lane.AGENT, "brisk-otter claims it, epoch 1"),
        (Lane.RUNNER, "runner of epoch 1 begins (Python 3.11)"),
        (Lane.RUNNER, "journal opened"),
        (Lane.RUNNER, "load  asked for"),
        (Lane.EXECUTOR, "load  handed over"),
        (Lane.RUNNER, "load  failed, to be retried: raised"),
        (Lane.EXECUTOR, "load  handed over (attempt 2)"),
        (Lane.EXECUTOR, "load  succeeded (attempt 2)"),
        (Lane.RUNNER, "run succeeded"),
    ]


def test_a_loss_and_a_cancel_are_the_servers() -> None:
    story = Story().begun().say(RunLost(epoch=1, reason=LossReason.SIGNALLED, signal=9))
    assert steps_of(story.recorded)[-1].text == "runner of epoch 1 lost: signalled (signal 9)"
    assert steps_of(Story().begun().say(RunCancelling()).recorded)[-1].lane is Lane.SERVER


def test_a_long_map_is_one_line_for_each_thing_done_with_counts_and_its_span() -> None:
    story = Story().begun().mapped("parse", 1000)
    for index in range(1000):
        story.done(f"parse.{index}")
    steps = steps_of(story.recorded)[5:]
    assert [(step.text, step.count) for step in steps] == [
        ("parse  map of 1,000 asked for", 1),
        ("parse.*  handed over", 1000),
        ("parse.*  succeeded", 1000),
    ]
    assert step_text(steps[1]) == "parse.*  handed over  ×1,000 until +2.004s"


def test_a_short_map_is_told_one_by_one() -> None:
    steps = steps_of(Story().begun().mapped("parse", 2).done("parse.0").done("parse.1").recorded)[6:]
    assert [step.text for step in steps] == [
        "parse.0  handed over",
        "parse.1  handed over",
        "parse.0  succeeded",
        "parse.1  succeeded",
    ]


def test_a_step_names_who_did_it_and_where_as_far_as_that_is_known() -> None:
    story = Story().begun().submitted("load").done("load")
    ended = story.recorded[-1]
    assert ended.epoch is not None
    assert ended.seq is not None
    agent = AgentView(
        agent="brisk-otter", kind="docker", labels=(), capacity=1, storages=(), key_ids=(), python="3.11", version="1",
        state="joined", joined_at=iso(story.recorded[0].recorded_at) or "", last_contact_seconds=None, runs=(),
    )  # fmt: skip
    known = Cast({"brisk-otter": agent}, {(ended.epoch, ended.seq): "4 at tcp://10.0.0.1:40001"})
    asked, ready, claimed, started, _, _, begun, done = (step_json(step) for step in steps_of(story.recorded, known))
    assert (asked["who"], ready["who"]) == ("server", "server")
    assert (claimed["text"], claimed["infrastructure"]) == ("brisk-otter (docker) claims it, epoch 1", "docker")
    assert (started["who"], started["text"]) == ("server", "runner of epoch 1 begins (docker, Python 3.11)")
    assert (begun["who"], begun["workers"]) == ("thread", [])
    assert (done["who"], done["workers"]) == ("thread", ["4 at tcp://10.0.0.1:40001"])
    assert "load  succeeded  on worker 4\n" in shown(steps_table(steps_of(story.recorded, known)))
    newer = Cast({"brisk-otter": agent.model_copy(update={"joined_at": iso(story.now)})})
    assert steps_of(story.recorded, newer)[2].infrastructure is None, "what it was then is not known any more"


def test_a_folded_step_names_its_workers_or_their_number() -> None:
    story = Story().begun().mapped("parse", 40)
    for index in range(40):
        story.done(f"parse.{index}")
    ends = [item for item in story.recorded if item.type == "task.succeeded"]
    for workers, told in ((2, "  on workers 0, 1\n"), (20, "  on 20 workers\n")):
        names = {(end.epoch, end.seq): f"{index % workers} at tcp://h" for index, end in enumerate(ends)}
        page = shown(steps_table(steps_of(story.recorded, Cast(workers=cast(Any, names)))))
        assert page.endswith(f"parse.*  succeeded  ×40 until +0.085s{told}")


def test_who_saw_a_runner_end_is_who_says_so() -> None:
    def lost_by(actor: str) -> Lane:
        *before, lost = Story().begun().say(RunLost(epoch=1, reason=LossReason.SIGNALLED, signal=9)).recorded
        return steps_of([*before, structs.replace(lost, actor=actor)])[-1].lane

    assert (lost_by("agent/brisk-otter"), lost_by("server")) == (Lane.AGENT, Lane.SERVER)


def test_the_lanes_are_columns() -> None:
    page = shown(steps_table(steps_of(Story().begun().submitted("load").done("load").recorded)))
    head, *rows = page.splitlines()
    columns = [head.index(lane.value.upper()) for lane in Lane]
    assert rows[0].index("run asked for") == columns[0]
    assert rows[2].index("brisk-otter") == columns[1]
    assert rows[3].index("runner of epoch") == columns[2]
    assert rows[6].index("load  handed over") == columns[3]


# --- progress -------------------------------------------------------------------------------------------------------


def test_the_tally_counts_maps_and_single_tasks_apart() -> None:
    tally = Tally()
    story = Story().begun().submitted("load").started("load").retrying("load").mapped("parse", 4).done("parse.0")
    tally.feed(story.recorded)
    single, parse = tally.rows
    assert (single.key, single.total, +single.counts) == (None, 1, {TaskStatus.RETRYING: 1})
    assert (parse.key, parse.total, parse.ended) == ("parse", 4, 1)
    assert +parse.counts == {TaskStatus.SUBMITTED: 3, TaskStatus.SUCCEEDED: 1}


def test_the_tally_agrees_with_the_state_at_every_version() -> None:
    story = Story().begun().mapped("parse", 5).submitted("load").done("load")
    for index in range(5):
        story.started(f"parse.{index}")
        story.failed(f"parse.{index}") if index % 2 else story.succeeded(f"parse.{index}")
    tally = Tally()
    for event in story.ended().recorded:
        tally.feed([event])
        assert tally.state is not None
        for status in TaskStatus:
            assert sum(row.counts[status] for row in tally.rows) == tally.state.count(status)


def test_on_a_terminal_each_map_has_a_bar_with_counts() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    tally = Tally()
    tally.feed(Story().begun().submitted("load").mapped("parse", 4).done("parse.0").started("parse.1").recorded)
    shape = picture(console, "crawl")
    assert isinstance(shape, Bars)
    with shape:
        shape.show(tally)
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert "crawl" in drawn
    assert "running" in drawn
    assert "parse" in drawn
    assert "1/4" in drawn
    assert "1 running" in drawn


def test_in_a_pipe_there_are_lines_and_few_of_them_for_a_long_map() -> None:
    console = Console(file=io.StringIO(), width=120)
    story, tally = Story().begun().mapped("parse", 1000), Tally()
    for index in range(1000):
        story.done(f"parse.{index}")
    shape = picture(console, "crawl")
    assert isinstance(shape, Lines)
    with shape:
        for event in story.ended().recorded:
            tally.feed([event])
            shape.show(tally)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "crawl: scheduled"
    assert lines[-1] == "crawl: succeeded"
    assert "  parse: 1,000 of 1,000" in lines
    assert len(lines) == 5 + 10  # five states, and a line for each tenth


# --- events, logs, results --------------------------------------------------------------------------------------------


def test_an_event_as_json_has_what_programs_need() -> None:
    event = event_json(Story().begun().submitted("load").recorded[5])
    assert event == {
        "position": 106, "stream": f"default/run/{RUN}", "version": 6, "type": "task.submitted", "schema": 1,
        "actor": "runner/1", "epoch": 1, "seq": 1, "recorded_at": "2027-01-15T08:00:00.005000Z",
        "data": {"at": 1_800_000_000_005_000, "key": "load", "name": "load"},
    }  # fmt: skip


def test_an_event_as_a_line_leaves_out_digests() -> None:
    story = Story().begun().submitted("load").done("load")
    line = event_line(story.recorded[-1], with_stream=False).plain
    assert "task.succeeded" in line
    assert "key=load" in line
    assert "mac" not in line
    assert "run/0123456789ab" in event_line(story.recorded[-1], with_stream=True).plain
    assert "scheduled_for=2027-01-15T08:00:00" in event_line(story.recorded[0], with_stream=False).plain


def test_a_log_line_names_its_task_and_indents_what_follows() -> None:
    line = LogLine(1_800_000_000_123_000, "ERROR", "app", "load", 2, "one\ntwo\n", epoch=1)
    assert log_line(line).plain == "08:00:00.123  ERROR   load#2            one\n    two"
    assert log_line(replace(line, task=None)).plain.split()[2] == "/#2"


def test_rows_are_a_table_and_other_values_are_as_python_writes_them() -> None:
    table = shown(result_page([{"name": "os", "lines": 1200}, {"name": "re", "lines": 7}]))
    assert table.splitlines()[0].split() == ["name", "lines"]
    assert table.splitlines()[1].split() == ["os", "1,200"]
    assert shown(result_page([{"a": 1}, {"b": 2}])).strip() == "[{'a': 1}, {'b': 2}]"
    assert shown(result_page("[bold]text")).strip() == "[bold]text"
    assert shown(result_text([{"name": "os", "lines": 1200}])).splitlines()[1].split() == ["os", "1,200"]
    assert shown(result_text("[bold]text")).strip() == "[bold]text"
    assert shown(result_text([1, "x"])).strip() == "[1, 'x']"


def test_a_long_table_is_cut_and_says_so() -> None:
    assert "200 of 300 rows" in shown(result_page([{"n": n} for n in range(300)]))


def test_results_become_json_or_their_text() -> None:
    assert result_json({"when": datetime(2027, 1, 1, tzinfo=UTC), "who": {"a"}}) == {
        "when": "2027-01-01T00:00:00Z",
        "who": ["a"],
    }
    assert result_json(object).startswith("<class")
    loop: list[object] = []
    loop.append(loop)
    assert result_json(loop) == "[[...]]"


# --- moments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0421, "42ms"),
        (3.14, "3.1s"),
        (59.96, "1m 00s"),
        (245, "4m 05s"),
        (7800, "2h 10m"),
        (273_600, "3d 4h"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_moments_are_told_relative_to_now() -> None:
    assert ago("2027-01-15T08:00:00Z", NOW) == "10.0s ago"
    assert ago("2027-01-15T08:01:10Z", NOW) == "in 1m 00s"
    assert ago(None, NOW) == "-"
    assert took("2027-01-15T08:00:00Z", None, NOW) == "10.0s"
    assert took(None, None, NOW) == "-"
    assert after(12_000) == "+0.012s"
    assert after(7_800_000_000) == "+2h 10m"


def test_since_is_a_span_or_a_time() -> None:
    assert micros_since("2h", NOW) == micros_of(NOW - timedelta(hours=2))
    assert micros_since("2027-01-15T08:00Z", NOW) == micros_of(datetime(2027, 1, 15, 8, tzinfo=UTC))
    for text in ("yesterday", "2 h", "", "5y", "999999999w"):
        with pytest.raises(UsageError, match="neither a span nor a time"):
            micros_since(text, NOW)
