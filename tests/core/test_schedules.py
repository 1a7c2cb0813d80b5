"""The arithmetic of schedules, above all where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.core.events import Schedule
from playhead.core.names import Micros
from playhead.core.schedules import MICROS, check_schedule, due_after
from playhead.errors import BadSchedule

PARIS = "Europe/Paris"
ID = "5c" * 8


def cron(expression: str, tz: str | None = None) -> Schedule:
    return Schedule(id=ID, cron=expression, tz=tz)


def micros(text: str, tz: str = "UTC") -> Micros:
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(tz))
    return Micros(int(moment.timestamp() * MICROS))


def dues(schedule: Schedule, start: Micros, number: int) -> list[str]:
    """The next due times, each asked for from the one before, as the clockwork does."""
    found: list[str] = []
    for _ in range(number):
        start = due_after(schedule, start)
        found.append((datetime.fromtimestamp(0, UTC) + timedelta(microseconds=start)).strftime("%d %H:%M"))
    return found


def test_a_job_in_the_hour_that_spring_leaves_out_runs_once_right_after_it() -> None:
    """2026-03-29: 02:00 becomes 03:00 in Paris, that is 01:00 UTC."""
    assert dues(cron("30 2 * * *", PARIS), micros("2026-03-27T12:00"), 3) == ["28 01:30", "29 01:00", "30 00:30"]


def test_two_jobs_in_the_hour_that_spring_leaves_out_are_one() -> None:
    assert dues(cron("15,45 2 * * *", PARIS), micros("2026-03-28T12:00"), 3) == ["29 01:00", "30 00:15", "30 00:45"]


def test_a_job_in_the_hour_that_autumn_repeats_runs_once() -> None:
    """2026-10-25: 03:00 becomes 02:00 in Paris; 01:30 in New York is repeated a week later."""
    assert dues(cron("30 2 * * *", PARIS), micros("2026-10-23T12:00"), 3) == ["24 00:30", "25 00:30", "26 01:30"]
    york = cron("30 1 * * *", "America/New_York")
    assert dues(york, micros("2026-10-31T12:00"), 2) == ["01 05:30", "02 06:30"]


@pytest.mark.parametrize("inside", ["2026-10-25T00:40", "2026-10-25T01:10", "2026-10-25T01:40"])
def test_asked_within_the_repeated_hour_the_answer_never_lies_behind(inside: str) -> None:
    moment = micros(inside)
    for expression in ("30 2 * * *", "50 2 * * *", "*/20 2 * * *", "10,50 2,3 * * *"):
        assert due_after(cron(expression, PARIS), moment) > moment


def test_a_job_of_every_so_many_minutes_goes_on_through_the_change() -> None:
    assert dues(cron("*/30 * * * *", PARIS), micros("2026-10-25T00:00"), 4) == [
        "25 00:30",
        "25 01:00",
        "25 01:30",
        "25 02:00",
    ]


def test_seconds_count_from_the_anchor() -> None:
    schedule = Schedule(id=ID, every_seconds=60, anchor=micros("2026-01-01T00:00:07"))
    assert due_after(schedule, micros("2026-01-01T00:00:07")) == micros("2026-01-01T00:01:07")
    assert due_after(schedule, micros("2026-01-01T00:01:06")) == micros("2026-01-01T00:01:07")
    assert due_after(schedule, micros("2025-01-01T00:00")) == schedule.anchor, "nothing is due before the anchor"


@given(moment=st.integers(0, 4 * 10**15), every=st.integers(1, 10**6), anchor=st.none() | st.integers(0, 10**15))
def test_every_n_seconds_leaves_no_time_out(moment: int, every: int, anchor: int | None) -> None:
    schedule = Schedule(id=ID, every_seconds=every, anchor=anchor)
    due = due_after(schedule, Micros(moment))
    assert due > moment
    assert (due - (anchor or 0)) % (every * MICROS) == 0
    assert due - moment <= every * MICROS or due == anchor


@given(moment=st.integers(0, 4 * 10**15), tz=st.sampled_from([None, PARIS, "America/New_York", "Australia/Lord_Howe"]))
def test_a_cron_time_is_later_and_is_found_again_from_just_before(moment: int, tz: str | None) -> None:
    for expression in ("30 2 * * *", "*/15 * * * *", "0 6 1 * MON"):
        due = due_after(cron(expression, tz), Micros(moment))
        assert due > moment
        assert due_after(cron(expression, tz), Micros(due - 1)) == due


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (cron("61 * * * *"), "does not parse"),
        (cron("* * * *"), "has 4 fields"),
        (cron("* * * * * *"), "has 6 fields"),
        (cron("0 0 31 2 *"), "does not parse"),
        (cron("0 0 * * MON#5,L"), "does not parse"),
        (cron("0 6 * * *", "Europe/Pari"), "no time zone named 'Europe/Pari'"),
        (cron("0 6 * * *", "Europe"), "no time zone"),
        (cron("0 6 * * *", "/etc/passwd"), "no time zone"),
        (Schedule(id=ID, every_seconds=10**12), "beyond the year 9999"),
        (Schedule(id=ID), "either a cron"),
        (Schedule(id=ID, cron="0 6 * * *", every_seconds=5), "either a cron"),
        (Schedule(id=ID, every_seconds=5, tz="UTC"), "time zone belongs"),
        (Schedule(id=ID, cron="0 6 * * *", anchor=5), "anchor belongs"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused_with_what_is_wrong(schedule: Schedule, said: str) -> None:
    with pytest.raises(BadSchedule, match=said):
        check_schedule(schedule)


def test_a_good_schedule_is_good() -> None:
    for schedule in (cron("0 6 * * MON-FRI", PARIS), cron("0 0 29 2 *"), Schedule(id=ID, every_seconds=1)):
        check_schedule(schedule)
