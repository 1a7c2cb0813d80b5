"""Whatever the weather, the promises hold (S1, S4, S5, S7, S12); and with a bug planted, a named checker finds it.

`make simulate SEEDS=…` lives through as many worlds as you like; what fails prints its seed, and `python -m tests.simulation SEED`
lives through that one again.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest

from playhead.core.state import RunStatus
from playhead.testing.storage import check_storage
from tests.simulation import checkers as ck
from tests.simulation import planted
from tests.simulation import weather as wt
from tests.simulation.disk import Disk
from tests.simulation.fibers import Process, Schedule
from tests.simulation.network import LEASE_SECONDS
from tests.simulation.weather import Fate, Fault, Weather
from tests.simulation.world import Plant, Told, simulate

FAST_SEEDS: Final = range(30)
MOST_SEEDS: Final = 40  # within which each planted bug must be found: most are found by the first three
LAST_STEP: Final = 260  # of a runner that nothing happens to: steps beyond it do no harm

Draw = Callable[[random.Random], Weather]


@cache
def lived(seed: int) -> Told:
    return simulate(seed)


@pytest.mark.parametrize("seed", FAST_SEEDS)
def test_the_promises_hold(seed: int) -> None:
    told = lived(seed)
    assert told.violation is None, str(told)


def test_the_weather_is_neither_too_fine_nor_too_rough() -> None:
    """A simulation in which nothing goes wrong, or nothing comes to its end, shows nothing."""
    worlds = [lived(seed) for seed in FAST_SEEDS]
    assert sum(told.status is RunStatus.SUCCEEDED for told in worlds) >= len(worlds) / 2
    assert sum(told.epochs >= 2 for told in worlds) >= len(worlds) / 3
    assert sum(told.epochs >= 3 for told in worlds) >= 3


PLANTS: Final[list[tuple[Plant, Draw, str]]] = [
    (planted.no_fence_check, wt.stopped_and_killed, ck.ONE_RUNNER),
    (planted.no_adopted_cut, wt.stopped_in_an_append, ck.ONE_RUNNER),
    (planted.reused_blob_name, wt.stopped_and_killed, ck.RESULT_FIRST),
    (planted.reused_blob_name_on_a_careful_storage, wt.stopped_and_killed, ck.NO_ERROR),
    (planted.launch_before_catch_up, wt.stopped_and_killed, ck.CAUGHT_UP),
    (planted.version_as_precondition, wt.cancelled, ck.NO_ERROR),
    (planted.counts_before_it_writes, wt.killed_unseen, ck.ONE_RUNNER),
    (planted.forgets_what_completed, wt.killed_unseen, ck.ONCE),
    (planted.draws_facts_anew, wt.killed_unseen, ck.SAME_WORLD),
    (planted.answers_before_it_appends, wt.dying_server, ck.LINEAR),
    (planted.late_outcomes_win, wt.stopped_at_its_end, ck.FINAL),
    (planted.sweeps_never, wt.killed_unseen, ck.PROGRESS),
]


@pytest.mark.parametrize(("plant", "draw", "checker"), PLANTS, ids=[plant.__name__ for plant, _, _ in PLANTS])
def test_a_planted_bug_is_found_by_its_checker(plant: Plant, draw: Draw, checker: str) -> None:
    found: Counter[str] = Counter()
    for seed in range(MOST_SEEDS):
        told = simulate(seed, draw(random.Random(seed)), plant)
        if told.violation is not None:
            found[told.violation.checker] += 1
            if told.violation.checker == checker:
                return
    pytest.fail(f"{plant.__name__} was not found by {checker!r} within {MOST_SEEDS} seeds; others found: {dict(found)}")


@pytest.mark.parametrize("draw", dict.fromkeys(draw for _, draw, _ in PLANTS))
def test_without_the_bug_nothing_is_found(draw: Draw) -> None:
    for seed in range(5):
        told = simulate(seed, draw(random.Random(seed)))
        assert told.violation is None, str(told)


def test_the_same_seed_tells_the_same_story() -> None:
    for seed in (3, 8):
        assert simulate(seed).digest == lived(seed).digest
    assert lived(3).digest != lived(8).digest


def test_the_story_does_not_depend_on_the_order_of_sets() -> None:
    script = "from tests.simulation.world import simulate; print(*(simulate(seed).digest for seed in (3, 8)))"
    told: set[str] = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, check=True, text=True
        )
        told.add(done.stdout)
    assert told == {f"{lived(3).digest} {lived(8).digest}\n"}


async def test_the_simulated_disk_is_a_storage() -> None:
    disk = Disk(Schedule(random.Random(0), switching=0.0), random.Random(0))
    results = await check_storage(lambda: disk.seen_by(Process("anybody")))
    assert [result for result in results if not result.passed] == []


# --- the long lane -----------------------------------------------------------------------------------------------------------------


@pytest.mark.simulation
@pytest.mark.timeout(0)
def test_the_promises_hold_for_many_seeds(seeds: range) -> None:
    ends: Counter[RunStatus | None] = Counter()
    for seed in seeds:
        told = simulate(seed)
        assert told.violation is None, str(told)
        ends[told.status] += 1
    print(f"seeds {seeds.start} to {seeds.stop - 1}: {dict(ends)}")
    assert ends[RunStatus.SUCCEEDED] >= len(seeds) / 2


@pytest.mark.simulation
@pytest.mark.timeout(0)
@pytest.mark.parametrize("fault", [Fault.KILL, Fault.STOP], ids=lambda fault: fault.value)
@pytest.mark.parametrize("flow", [0, 1], ids=["chain", "crowd"])
@pytest.mark.parametrize("shares_memory", [True, False], ids=["threads", "processes"])
def test_a_fault_at_every_single_step(fault: Fault, flow: int, shares_memory: bool) -> None:
    for step in range(1, LAST_STEP):
        fates = ((Fate(step, fault, 3 * LEASE_SECONDS),),)
        told = simulate(step, Weather(flow=flow, shares_memory=shares_memory, fates=fates))
        assert told.violation is None, str(told)
        assert told.status is RunStatus.SUCCEEDED
