"""Tickets: a run is what somebody signed, or nothing of it is loaded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.core.events import Origin
from playhead.core.run_ids import scheduled_run_id
from playhead.errors import AlreadyExists, NoSuchObject, TrustError, UsageError
from playhead.storage.memory import MemoryStorage
from playhead.trust.keys import MasterKey
from playhead.trust.payload import dump, load
from playhead.trust.ticket import (
    AskedTicket,
    ScheduleTicket,
    Ticket,
    check_run,
    read_asked,
    read_schedule,
    read_ticket,
    write_asked,
    write_schedule,
)

MASTER = MasterKey(b"k" * 32)
RUN, OTHER_RUN = "a" * 32, "b" * 32
SEAL, OTHER_SEAL = "1" * 32, "2" * 32
DAILY = "d" * 16
FLOW_KEY = MASTER.flow_key("etl")
DUE = 1_750_000_000_000_000


def _asked(**changed: Any) -> AskedTicket:
    fields: dict[str, Any] = {
        "run": RUN,
        "flow": "etl",
        "seal": SEAL,
        "parameters": dump({"n": 3}),
        "labels": ("gpu", "x"),
    }
    return AskedTicket(**{**fields, **changed})


def _scheduled(**changed: Any) -> ScheduleTicket:
    fields: dict[str, Any] = {"schedule": DAILY, "flow": "etl", "seal": SEAL, "parameters": dump({}), "labels": ()}
    return ScheduleTicket(**{**fields, **changed})


def test_a_ticket_reads_back() -> None:
    storage = MemoryStorage()
    write_asked(storage, _asked(), MASTER.run_key(RUN))
    write_schedule(storage, _scheduled(), FLOW_KEY)
    ticket = read_asked(storage, RUN, MASTER.run_key(RUN))
    assert ticket == _asked()
    assert load(ticket.parameters) == {"n": 3}
    assert read_schedule(storage, "etl", DAILY, SEAL, FLOW_KEY) == _scheduled()
    assert storage.exists(f"runs/{RUN}/ticket")


def test_asking_twice_is_harmless_and_asking_otherwise_is_not() -> None:
    storage = MemoryStorage()
    for _ in range(2):
        write_asked(storage, _asked(), MASTER.run_key(RUN))
        write_schedule(storage, _scheduled(), FLOW_KEY)
    with pytest.raises(AlreadyExists):
        write_asked(storage, _asked(parameters=dump({"n": 4})), MASTER.run_key(RUN))
    with pytest.raises(AlreadyExists):
        write_schedule(storage, _scheduled(parameters=dump({"n": 4})), FLOW_KEY)


def test_a_schedule_outlives_its_flow_s_seals() -> None:
    storage = MemoryStorage()
    for seal in (SEAL, OTHER_SEAL):
        write_schedule(storage, _scheduled(seal=seal), FLOW_KEY)
        assert read_schedule(storage, "etl", DAILY, seal, FLOW_KEY).seal == seal


def test_another_run_s_ticket_is_refused() -> None:
    storage = MemoryStorage()
    write_asked(storage, _asked(), MASTER.run_key(RUN))
    storage.create_if_absent(f"runs/{OTHER_RUN}/ticket", storage.read(f"runs/{RUN}/ticket"))
    with pytest.raises(TrustError, match=f"run is '{RUN}' and not '{OTHER_RUN}'"):
        read_asked(storage, OTHER_RUN, MASTER.run_key(OTHER_RUN))
    with pytest.raises(NoSuchObject):
        read_asked(storage, "c" * 32, MASTER.run_key("c" * 32))
    with pytest.raises(TrustError):
        read_asked(storage, RUN, MasterKey(b"x" * 32).run_key(RUN))


def test_a_schedule_s_ticket_does_not_pass_for_another() -> None:
    storage = MemoryStorage()
    write_schedule(storage, _scheduled(), FLOW_KEY)
    signed = storage.read(f"flows/etl/schedules/{DAILY}/{SEAL}")
    for flow, schedule, seal in (("etl", DAILY, OTHER_SEAL), ("etl", "e" * 16, SEAL), ("other", DAILY, SEAL)):
        storage.create_if_absent(f"flows/{flow}/schedules/{schedule}/{seal}", signed)
        with pytest.raises(TrustError, match="belongs elsewhere"):
            read_schedule(storage, flow, schedule, seal, MASTER.flow_key(flow))


def test_a_name_cannot_leave_the_folder() -> None:
    for run in ("..", "../x", "", "a/../b"):
        with pytest.raises(UsageError):
            read_asked(MemoryStorage(), run, MASTER.run_key(run))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"run": OTHER_RUN}, f"its run is {OTHER_RUN}, and {RUN} was signed"),
        ({"flow": "other"}, "its flow is other, and etl was signed"),
        ({"seal": OTHER_SEAL}, f"its seal is {OTHER_SEAL}, and {SEAL} was signed"),
        ({"labels": ("gpu",)}, "its labels is gpu, and gpu, x was signed"),
        ({"labels": ()}, "its labels is none, and gpu, x was signed"),
        ({"flow": "other", "seal": OTHER_SEAL}, "flow is other.*; its seal is"),
    ],
)
def test_a_run_that_does_not_fit_is_named(said: dict[str, Any], told: str) -> None:
    facts: dict[str, Any] = {"run": RUN, "flow": "etl", "seal": SEAL, "labels": ("x", "gpu")}
    check_run(_asked(), **facts)
    with pytest.raises(TrustError, match=told):
        check_run(_asked(), **{**facts, **said})


def test_a_scheduled_run_fits_only_its_own_time() -> None:
    ticket: Ticket = _scheduled()
    run = scheduled_run_id("etl", DAILY, DUE)
    check_run(ticket, run=run, flow="etl", seal=SEAL, labels=(), due_micros=DUE)
    for due in (DUE + 1, None):
        with pytest.raises(TrustError, match="does not fit"):
            check_run(ticket, run=run, flow="etl", seal=SEAL, labels=(), due_micros=due)
    with pytest.raises(TrustError, match="does not fit"):
        check_run(ticket, run=RUN, flow="etl", seal=SEAL, labels=(), due_micros=DUE)


def test_the_server_s_word_decides_only_which_ticket_is_read() -> None:
    storage = MemoryStorage()
    write_asked(storage, _asked(), MASTER.run_key(RUN))
    write_schedule(storage, _scheduled(), FLOW_KEY)
    due_run = scheduled_run_id("etl", DAILY, DUE)

    def read(run: str, schedule: str | None, labels: tuple[str, ...]) -> Ticket:
        return read_ticket(
            storage, run=run, flow="etl", seal=SEAL, labels=labels, due_micros=DUE,
            origin=Origin.ASKED if schedule is None else Origin.SCHEDULE, schedule=schedule,
            run_key=MASTER.run_key(run), flow_key=FLOW_KEY,
        )  # fmt: skip

    assert read(RUN, None, ("gpu", "x")) == _asked()
    assert read(due_run, DAILY, ()) == _scheduled()
    with pytest.raises(TrustError, match="does not fit"):
        read(RUN, DAILY, ())
    with pytest.raises(NoSuchObject):
        read(due_run, None, ())


def test_the_id_of_a_scheduled_run_is_kept() -> None:
    """Runs that an earlier version scheduled must have the same id in a later one."""
    assert scheduled_run_id("etl", DAILY, DUE) == "6aa283ac6df5eec392b734aa13186f09"


facts = st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(0, 10**4))


@given(facts, facts)
def test_no_two_scheduled_times_have_one_id(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    assert (scheduled_run_id(*one) == scheduled_run_id(*other)) == (one == other)
