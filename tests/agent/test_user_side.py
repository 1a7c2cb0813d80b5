"""Tickets before launches: what an agent verifies of a run, and that nothing of a flow is loaded by it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from playhead.agent.user_side import UserSide
from playhead.core.events import Origin
from playhead.core.run_ids import scheduled_run_id
from playhead.errors import StorageUnavailable, TrustError
from playhead.ports.server import Claimed
from playhead.runner.bootstrap import RunnerOrder
from playhead.storage.memory import MemoryStorage
from playhead.trust.keys import KeyRing, MasterKey
from playhead.trust.ticket import AskedTicket, ScheduleTicket, write_asked, write_schedule

RUN, FLOW, SEAL, SCHEDULE, DUE = "ab" * 16, "census", "5ea1" * 8, "c0de" * 4, 1_700_000_000_000_000


class Bomb:
    exploded = 0

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _explode, ()


def _explode() -> None:
    Bomb.exploded += 1


class Side:
    """A storage with a ticket of each origin, both with parameters that must not be loaded."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.keys = KeyRing(MasterKey.random())
        bomb = pickle.dumps(Bomb())
        asked = AskedTicket(run=RUN, flow=FLOW, seal=SEAL, parameters=bomb, labels=("gpu",))
        write_asked(self.storage, asked, self.keys.run_key(RUN))
        schedule = ScheduleTicket(schedule=SCHEDULE, flow=FLOW, seal=SEAL, parameters=bomb)
        write_schedule(self.storage, schedule, self.keys.flow_key(FLOW))

    def claimed(self, **changes: Any) -> Claimed:
        facts = {
            "run": RUN, "epoch": 1, "grant": "12345678", "flow": FLOW, "seal": SEAL, "origin": Origin.ASKED, "schedule_id": None,
            "scheduled_for": DUE, "executor": "thread", "run_config": "universal", "labels": ("gpu",),
            "storage": self.storage.id, "key_id": self.keys.current.id, "lease_seconds": 15.0,
        }  # fmt: skip
        return Claimed.model_validate(facts | changes)

    def scheduled(self, **changes: Any) -> Claimed:
        run = scheduled_run_id(FLOW, SCHEDULE, DUE)
        facts = {"run": run, "origin": Origin.SCHEDULE, "schedule_id": SCHEDULE, "labels": ()}
        return self.claimed(**(facts | changes))

    def order(self, claimed: Claimed, keys: KeyRing | None = None) -> RunnerOrder:
        return UserSide([self.storage], keys or self.keys).order(
            claimed, server="http://s", agent="a", log_level="INFO"
        )


def test_a_run_that_somebody_asked_for_gets_its_order() -> None:
    side = Side()
    assert side.order(side.claimed()).run == RUN
    assert Bomb.exploded == 0


def test_a_run_of_a_schedule_gets_its_order() -> None:
    side = Side()
    assert side.order(side.scheduled()).schedule_id == SCHEDULE
    assert Bomb.exploded == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "cd" * 16},
        {"flow": "another"},
        {"seal": "0bad" * 8},
        {"labels": ()},
        {"key_id": "ff" * 8},
        {"schedule_id": "0bad" * 4},
        {"epoch": 0},
        {"executor": "no name"},
    ],
)
def test_what_the_server_says_otherwise_of_an_asked_run_is_refused(changes: dict[str, Any]) -> None:
    side = Side()
    with pytest.raises(TrustError):
        side.order(side.claimed(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"run": RUN}, {"flow": "another"}, {"seal": "0bad" * 8}, {"scheduled_for": DUE + 1}, {"schedule_id": None}],
)
def test_what_the_server_says_otherwise_of_a_scheduled_run_is_refused(changes: dict[str, Any]) -> None:
    side = Side()
    with pytest.raises(TrustError):
        side.order(side.scheduled(**changes))


def test_a_ticket_of_another_key_is_refused() -> None:
    side, other = Side(), KeyRing(MasterKey.random())
    with pytest.raises(TrustError):
        side.order(side.claimed(), other)


def test_older_keys_of_the_ring_still_verify() -> None:
    side = Side()
    rotated = KeyRing(MasterKey.random(), (side.keys.current,))
    assert side.order(side.claimed(), rotated).key_id == side.keys.current.id
    assert UserSide([side.storage], rotated).key_ids == (rotated.current.id, side.keys.current.id)


def test_a_storage_that_is_not_open_here_is_named() -> None:
    side = Side()
    with pytest.raises(StorageUnavailable, match="ee" * 8):
        side.order(side.claimed(storage="ee" * 8))
