"""The simulation's own ground: turns, virtual time, and deaths that reach nothing."""

from __future__ import annotations

import random

import pytest

from playhead.errors import NoSuchObject
from tests.simulation.disk import Disk
from tests.simulation.fibers import Process, Schedule, Stuck


def _schedule(seed: int = 0) -> Schedule:
    return Schedule(random.Random(seed), switching=0.5)


def test_time_passes_only_when_all_wait() -> None:
    schedule = _schedule()
    woken: list[tuple[str, float]] = []

    def sleeper(name: str, seconds: float) -> None:
        schedule.sleep(seconds)
        woken.append((name, schedule.now))

    for name, seconds in (("long", 3600.0), ("short", 0.5), ("middle", 60.0)):
        schedule.spawn(Process(name), "main", lambda name=name, seconds=seconds: sleeper(name, seconds))  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
    schedule.run(lambda: len(woken) == 3)
    assert woken == [("short", 0.5), ("middle", 60.0), ("long", 3600.0)]


def test_a_seed_is_a_schedule() -> None:
    def order(seed: int) -> list[str]:
        schedule, seen = _schedule(seed), list[str]()

        def work(name: str) -> None:
            for _ in range(10):
                schedule.pause("step")
                seen.append(name)

        for name in "abc":
            schedule.spawn(Process(name), "main", lambda name=name: work(name))  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        schedule.run(lambda: len(seen) == 30)
        return seen

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_what_waits_for_nothing_is_stuck() -> None:
    schedule = _schedule()
    schedule.spawn(Process("alone"), "main", lambda: schedule.wait(lambda: False))
    with pytest.raises(Stuck, match="alone/main"):
        schedule.run(lambda: False)
    schedule.end()


def test_a_stopped_process_goes_on_later() -> None:
    schedule, process = _schedule(), Process("sleepy")
    at: list[float] = []

    def work() -> None:
        schedule.stop(process, 7.0)
        schedule.pause("stopped here")
        at.append(schedule.now)

    schedule.spawn(process, "main", work)
    schedule.run(lambda: bool(at))
    assert at == [7.0]


def test_the_dead_unwind_and_reach_nothing() -> None:
    schedule, process = _schedule(), Process("mortal")
    disk = Disk(schedule, random.Random(0))
    view, unwound = disk.seen_by(process), list[str]()

    def work() -> None:
        try:
            schedule.kill(process)
            view.create_if_absent("never", b"")
        finally:
            unwound.append("main")
            view.create_if_absent("not/even/now", b"")

    schedule.spawn(process, "main", work)
    schedule.spawn(process, "waiter", lambda: schedule.wait(lambda: False))
    schedule.run(lambda: not process.fibers)
    assert unwound == ["main"]
    for path in ("never", "not/even/now"):
        with pytest.raises(NoSuchObject):
            disk.durable.read(path)


def test_a_death_in_an_append_leaves_a_torn_tail_and_loses_nothing_durable() -> None:
    schedule, process = _schedule(), Process("writer")
    disk = Disk(schedule, random.Random(3))
    view = disk.seen_by(process)

    def die_half_way(_: object, label: str) -> None:
        if label.startswith("half written") and len(disk.durable.read("file")) == 10:
            schedule.kill(process)

    schedule.before_step = die_half_way

    def work() -> None:
        file = view.open_append("file")
        file.append(b"a" * 10)
        file.append(b"b" * 1000)

    schedule.spawn(process, "main", work)
    schedule.run(lambda: not process.fibers)
    assert disk.durable.read("file") == b"a" * 10
    assert 10 < len(disk.seen_by(Process("reader")).read("file")) < 1010
