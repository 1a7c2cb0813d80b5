"""The ground that worlds stand on: a log that forgets what was not synced, a disk without power, and a network that loses, doubles and
cuts off."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from playhead.core.names import Micros, StreamName, Version
from playhead.errors import ServerUnreachable
from playhead.ports.store import Append, NewEvent, Recorded, StoreBackend
from playhead.testing.stores import check_store
from tests.simulation.backend import LogDisk
from tests.simulation.disk import Disk
from tests.simulation.fibers import Process, Schedule
from tests.simulation.network import GIVE_UP_SECONDS, Answer, Losses, Network, Way
from tests.simulation.server import Caller, Head, Request, Server

ASKED = Request("POST", "/runs/1/start", body=b"{}")


def _nobody(_: Sequence[Recorded]) -> None:
    """Nobody wants to know."""


def _append(number: int) -> Append:
    return Append(
        stream=StreamName("default/run/1"),
        events=(NewEvent(type="run.ready", schema=1, data={}),),
        expected=Version(number - 1),
        append_id=f"a{number}",
        actor="server",
        recorded_at=Micros(0),
    )


class Answering(Server):
    """A server that answers at once, and counts."""

    handled = 0

    def handle(self, request: Request, caller: Caller) -> Server:
        self.handled += 1
        caller.head(Head(200, {}))
        caller.chunk(request.path.encode())
        caller.complete()
        return self


@dataclass
class Ground:
    """A network with one process that asks."""

    losses: Losses = field(default_factory=Losses)

    def __post_init__(self) -> None:
        rng = random.Random(1)
        self.schedule = Schedule(rng, switching=0.5)
        self.server = Answering(self.schedule, rng, LogDisk(self.schedule, rng, _nobody))
        self.network = Network(self.schedule, rng, self.server)
        self.network.losses = self.losses
        self.asker = Process("asker", host="otter")

    def ask(self) -> tuple[Answer | ServerUnreachable, float]:
        """The answer, and when it came."""
        came: list[tuple[Answer | ServerUnreachable, float]] = []
        over: list[bool] = []

        def work() -> None:
            future = self.network.ask(ASKED)
            self.schedule.wait(future.done)
            error = future.exception()
            assert error is None or isinstance(error, ServerUnreachable)
            came.append((error or future.result(), self.schedule.now))
            self.schedule.sleep(1.0)  # for what else may come
            over.append(True)

        self.schedule.spawn(self.asker, "main", work)
        self.schedule.run(lambda: bool(over))
        self.schedule.end()
        return came[0]


def test_an_answer_comes_a_little_later() -> None:
    ground = Ground()
    answer, at = ground.ask()
    assert answer == Answer(Head(200, {}), b"/runs/1/start")
    assert 0 < at < 0.1
    assert ground.server.handled == 1


def test_what_is_doubled_arrives_twice_and_is_answered_once() -> None:
    ground = Ground(Losses(doubled=1.0))
    answer, _ = ground.ask()
    assert isinstance(answer, Answer)
    assert ground.server.handled == 2


@pytest.mark.parametrize(("way", "handled"), [(Way.UP, 0), (Way.DOWN, 1), (Way.BOTH, 0)])
def test_who_is_cut_off_one_way_is_heard_or_not_and_hears_nothing(way: Way, handled: int) -> None:
    ground = Ground()
    ground.network.cut_off("otter", 100.0, way)
    answer, at = ground.ask()
    assert isinstance(answer, ServerUnreachable)
    assert at == GIVE_UP_SECONDS
    assert ground.server.handled == handled


def test_another_machine_is_not_cut_off() -> None:
    ground = Ground()
    ground.network.cut_off("heron", 100.0)
    answer, _ = ground.ask()
    assert isinstance(answer, Answer)


def test_what_is_lost_is_noticed_at_the_latest_when_it_is_given_up() -> None:
    for losses in (Losses(request=1.0), Losses(answer=1.0)):
        ground = Ground(losses)
        answer, at = ground.ask()
        assert isinstance(answer, ServerUnreachable)
        assert at <= GIVE_UP_SECONDS


async def test_the_simulated_log_is_a_store() -> None:
    rng = random.Random(0)
    disk = LogDisk(Schedule(rng, switching=0.0), rng, _nobody)

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StoreBackend]:
        yield disk.open(Process("server"))

    results = await check_store(opened)
    assert [result for result in results if not result.passed] == []


def test_a_commit_that_was_not_synced_is_there_after_a_crash_or_it_is_not_and_what_was_synced_stays() -> None:
    found: set[int] = set()
    for seed in range(20):
        told: list[Recorded] = []
        rng = random.Random(seed)
        schedule, server = Schedule(rng, switching=0.5), Process("server")
        disk = LogDisk(schedule, rng, told.extend)

        def commit(disk: LogDisk = disk) -> None:
            coroutine = disk.open(Process("server")).commit([_append(1)])
            with pytest.raises(StopIteration):
                coroutine.send(None)
            disk.open(Process("server")).commit([_append(2)]).send(None)

        def die_between(_: object, label: str, schedule: Schedule = schedule, server: Process = server) -> None:
            if label.startswith("written") and len(disk.records.events) == 2:  # it is called within this round
                schedule.kill(server)

        schedule.before_step = die_between
        schedule.spawn(server, "main", commit)
        schedule.run(lambda server=server: not server.fibers)  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        disk.open(Process("server"))
        found.add(len(told))
        assert [event.version for event in told] == list(range(1, len(told) + 1))
        assert told == disk.records.events
    assert found == {1, 2}


def test_without_power_a_disk_keeps_what_was_flushed() -> None:
    rng = random.Random(0)
    disk = Disk(Schedule(rng, switching=0.0), rng)
    view = disk.seen_by(Process("writer"))
    file = view.open_append("file")
    file.append(b"flushed")
    view.append_loose("lines", b"never flushed")
    disk.objects["file"].content += b" and not"
    disk.lose_power()
    assert view.read("file") == b"flushed"
    assert view.read("lines") == b""
