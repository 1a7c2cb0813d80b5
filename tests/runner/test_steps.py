"""The records that are made without their events are what their events would be."""

from __future__ import annotations

import string
from contextlib import ExitStack
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from playhead import flow, scope, task
from playhead.core import events as ev
from playhead.core.names import TaskKey
from playhead.errors import MisusedCall
from playhead.journal.format import Record
from playhead.runner import steps
from playhead.runner.identity import MAX_KEY_LENGTH
from tests.runner.bench import open_bench

MOMENTS: Final = st.integers(0, ev.MAX_MOMENT)
KEYS: Final = st.text(string.ascii_letters + string.digits + "_.~/-", min_size=1, max_size=512).map(TaskKey)
ATTEMPTS: Final = st.integers(1, ev.MAX_NUMBER)
MACS: Final = st.text(string.ascii_letters + string.digits + "_-", min_size=22, max_size=22)


@given(MOMENTS, KEYS, ATTEMPTS)
def test_a_start_is_its_event(at: int, key: TaskKey, attempt: int) -> None:
    event = ev.TaskStarted(at=at, key=key, attempt=attempt)
    record = steps.started(at, key, attempt)
    assert record == Record(event.TYPE, event.SCHEMA, ev.encode(event))
    assert list(record.data) == list(ev.encode(event)), "in the same order, so that its bytes are the same"


@given(MOMENTS, KEYS, ATTEMPTS, MACS, st.integers(0, 40))
def test_a_success_is_its_event(at: int, key: TaskKey, attempt: int, mac: str, size: int) -> None:
    def then(_: Record) -> None: ...

    event = ev.TaskSucceeded(at=at, key=key, attempt=attempt, mac=mac, size=size)
    record = steps.succeeded(at, key, attempt, mac, size, b"value", then)
    assert record == Record(event.TYPE, event.SCHEMA, ev.encode(event), None, b"value", then)
    assert list(record.data) == list(ev.encode(event)), "as above"


def test_a_map_whose_elements_have_no_room_for_their_keys_is_refused_where_it_is_asked_for() -> None:
    @task
    def t(x: int) -> int:
        return x

    @flow
    def subject() -> list[int]:
        with ExitStack() as scopes:
            for _ in range(7):
                scopes.enter_context(scope("s" * 64))
            return t.with_key("k" * (MAX_KEY_LENGTH - 7 * 65)).map([1, 2]).result()

    with open_bench() as bench:
        _, outcome = bench.run(subject)
    assert isinstance(outcome.error, MisusedCall)
    assert "longer than" in str(outcome.error)
