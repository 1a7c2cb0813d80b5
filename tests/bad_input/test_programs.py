"""Flows and programs that do what they should not: the run fails with words, the program goes on, and so does the home."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from playhead import Flow, FlowRunCancelled, FlowRunFailed, flow
from playhead.embedded import run_embedded
from playhead.errors import BadParameter, MisusedCall, PlayheadError, UnloadableOutcome
from playhead.flows.foreign_thread import UnrecordedCallWarning
from playhead.home import Home
from playhead.settings import Settings
from tests.bad_input import wrong_flows as wrong
from tests.bad_input.world import Desk, copied_desk

Words = tuple[str, ...]


@pytest.fixture(scope="module")
def desk(first_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all of these, which it must outlive."""
    return copied_desk(first_desk, tmp_path_factory.mktemp("programs") / "home")


class Row(NamedTuple):
    flow: Flow[..., Any]
    code: int  # of `playhead run`
    raised: type[PlayheadError]  # by the flow, called in a program
    said: Words


FAILED = (1, FlowRunFailed)
ROWS = [
    Row(wrong.exits, *FAILED, ("SystemExit: 5", "--failures")),
    Row(wrong.exits_with_words, *FAILED, ("SystemExit: nothing to do today", "--failures")),
    Row(wrong.raises_base, *FAILED, ("Unusual: very unusual", "--failures")),
    Row(wrong.interrupts, 4, FlowRunCancelled, ("was cancelled",)),
    Row(wrong.task_exits, *FAILED, ("in task exit_in_task", "SystemExit: 3")),
    Row(wrong.task_raises_base, *FAILED, ("in task raise_base_in_task", "Unusual: in a task")),
    Row(wrong.task_gives_a_lock, *FAILED, ("in task a_lock", "value['lock'] is a _thread.lock", "plain data")),
    Row(wrong.task_gives_one_way, *FAILED, ("result of task one_way", "no way back", "__reduce__")),
    Row(wrong.gives_a_lock, *FAILED, ("_thread.lock, which cannot be pickled", "plain data")),
    Row(wrong.gives_one_way, 2, UnloadableOutcome, ("result of flow run", "no way back", "__reduce__")),
    Row(wrong.gives_a_future, *FAILED, ("pickles a future (task double)", "await it first")),
    Row(wrong.task_raises_unpicklable, *FAILED, ("in task raise_held", "the door is locked", "exception itself is lost")),
    Row(wrong.task_raises_one_way, *FAILED, ("in task raise_two_parts", "TwoParts: orders has a bad row 7")),
    Row(wrong.submits_in_a_thread, *FAILED, ("double.submit", "thread that the flow started", "playhead.scope")),
    Row(wrong.submits_in_a_loop_thread, *FAILED, ("another thread", "playhead.scope")),
    Row(wrong.task_submits, *FAILED, ("double.submit was used inside task submit_inside", "t.fn(...)")),
]  # fmt: skip


def _name(row: Row) -> str:
    return row.flow.name


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_a_command_ends_with_a_code_and_words(desk: Desk, row: Row) -> None:
    desk.playhead("run", desk.flow(row.flow.name)).refuses(row.code, *row.said)
    desk.check_nothing_lost()


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_a_program_gets_an_error_of_ours_and_goes_on(desk: Desk, row: Row) -> None:
    with pytest.raises(row.raised) as caught:
        _run(desk, row.flow)
    for words in row.said:
        assert words in str(caught.value)
    assert _run(desk, wrong.good) == [0, 2, 4]
    desk.check_nothing_lost()


def test_a_kept_future_is_refused_in_another_run_and_after_its_own(desk: Desk) -> None:
    _run(desk, wrong.keeps_a_future)
    own = wrong.kept[0].key
    for other in (wrong.reads_a_kept_future, wrong.passes_a_kept_future, wrong.awaits_a_kept_future):
        with pytest.raises(FlowRunFailed, match=f"future of task {own} belongs to flow run") as caught:
            _run(desk, other)
        assert "hand on its value instead" in str(caught.value)

    async def awaited() -> int:
        return await wrong.kept[0]

    for after in (wrong.kept[0].result, wrong.kept[0].exception, lambda: asyncio.run(awaited())):
        with pytest.raises(MisusedCall, match="not the one running here"):
            after()
    wrong.kept.clear()
    desk.check_nothing_lost()


def test_a_task_called_in_a_thread_of_the_flows_own_is_warned_of(desk: Desk) -> None:
    """The thread looks like any other of the program, so the function runs; that nothing of it is recorded is said."""
    with pytest.warns(UnrecordedCallWarning, match=r"double was called in thread 'stranger'.*double\.submit"):
        assert _run(desk, wrong.calls_in_a_thread) == 8
    desk.check_nothing_lost()


def test_a_program_that_runs_no_flow_calls_tasks_in_threads_as_it_likes() -> None:
    called: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread = threading.Thread(target=lambda: called.append(wrong.double(4)))
        thread.start()
        thread.join()
    assert called == [8]


@flow
def takes_anything(value: object) -> str:
    return type(value).__name__


# What is called, and what is said of it.
CALLS: list[tuple[str, Callable[[], Any], Words]] = [
    ("not serialisable", lambda: takes_anything(threading.Lock()), ("parameter 'value'", "_thread.lock", "open it in a task")),
    ("does not read back", lambda: takes_anything(wrong.OneWay()), ("parameter 'value'", "no way back", "plain data")),
    ("missing", lambda: takes_anything(), ("takes_anything", "'value'", "its parameters: value")),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # what is tried
    ("unknown", lambda: takes_anything(1, other=2), ("takes_anything", "'other'", "its parameters: value")),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # what is tried
    ("of the wrong type", lambda: wrong.good("few"), ("parameter 'n' of flow good", "expected int", "'few'")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tried
]  # fmt: skip


@pytest.mark.parametrize(("called", "said"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_a_wrong_parameter_is_refused_where_it_is_given(desk: Desk, called: Callable[[], Any], said: Words) -> None:
    with pytest.raises(BadParameter) as caught:
        called()
    assert caught.value.hint
    for words in said:
        assert words in str(caught.value)
    desk.check_nothing_lost()


def _run(desk: Desk, subject: Flow[..., Any]) -> Any:
    home = Home.open(Settings.load({"home": desk.home}))
    return run_embedded(subject, subject.bind(), home=home)
