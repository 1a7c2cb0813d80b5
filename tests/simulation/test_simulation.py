"""Whatever the weather, the promises hold; and with a bug planted, a named checker finds it.

`make simulate SEEDS=…` lives through as many worlds as you like; what fails prints its seed, and `python -m tests.simulation SEED`
lives through that one again.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Final

import pytest

from playhead.core.state import RunStatus
from playhead.testing.storage import check_storage
from tests.simulation import planted
from tests.simulation import planted_between as between
from tests.simulation import planted_several as several
from tests.simulation import promises as ck
from tests.simulation import weather as wt
from tests.simulation.disk import Disk
from tests.simulation.fibers import Process, Schedule
from tests.simulation.many import Sum, live_through
from tests.simulation.server import LEASE_SECONDS
from tests.simulation.weather import Fate, Fault, Weather
from tests.simulation.world import Plant, Told, simulate

FAST_SEEDS: Final = range(25)
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
    assert sum(told.succeeded for told in worlds) >= 0.7 * len(worlds)
    assert sum(told.epochs > len(told.ends) for told in worlds) >= len(worlds) / 3  # a run had more than one runner
    assert sum(told.epochs > len(told.ends) + 1 for told in worlds) >= 2
    for happens in (
        "server.2/",
        "otter.2/agent",
        "cut off",
        "watcher: killed",
        "answer to start: none",
        "look for survivors",
    ):
        assert any(happens in line for told in worlds for line in told.trace), happens


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
    (planted.sweeps_never, wt.killed_unseen, ck.OFFERED),
    (between.cursor_skips_one, wt.broken_streams, ck.EACH_EVENT),
    (between.cursors_lag_behind, wt.broken_streams, ck.EACH_EVENT),
    (between.cursors_are_taken_unseen, wt.broken_streams, ck.CURSORS),
    (between.a_store_that_forgets_ids, wt.unsure_log, ck.IDEMPOTENT),
    (between.acknowledges_before_it_syncs, wt.unsure_log, ck.LINEAR),
    (between.folds_by_the_clock, wt.killed_unseen_and_restarted, ck.REPLAY),
    (between.sweeps_only_at_start, wt.killed_unseen, ck.OFFERED),
    (between.waits_for_claims_for_ever, wt.silent_agent, ck.TAKEN_BACK),
    (between.waits_for_the_cancelled_for_ever, wt.cancelled_while_stopped, ck.CANCELLED),
    (between.losses_without_end, wt.killed_again_and_again, ck.BOUNDED),
    (between.starts_beyond_its_lease, wt.cut_off_for_long, ck.LEASED),
    (between.forgets_missed_times, wt.missed_times, ck.EACH_TIME),
    (between.launches_twice, wt.killed_agent, ck.NO_ERROR),
    (between.takes_absence_for_death, wt.lost_from_sight, ck.PROOF),
    (between.drains_only_itself, wt.drained, ck.DRAINS),
    (between.keeps_slots_for_ever, wt.many_runs, ck.PROGRESS),
    (between.asks_only_once, wt.silent_server, ck.NO_ERROR),
    (several.keeps_beats_to_itself, wt.long_call, ck.KEPT),
    (several.answers_by_what_it_remembers, wt.stopped_for_a_lease, ck.ONE_RUNNER),
    (several.waits_for_no_leader, wt.untold, ck.ONE_LEADS),
    (several.waits_for_a_leader_for_ever, wt.dying_leader, ck.LED),
    (several.believes_in_itself_for_ever, wt.leader_cut_off, ck.ONE_LEADS),
    (several.reads_what_it_has, wt.untold, ck.REPLAY),
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
    for seed in range(2):
        told = simulate(seed, draw(random.Random(seed)))
        assert told.violation is None, str(told)


def test_a_runner_that_wakes_when_its_run_has_moved_on_ends_because_its_time_is_over() -> None:
    """It finds its successor's journal before it has asked for anything, and must not take the log for one that forgot."""
    stop = Fate(1, Fault.STOP, 22.0, "list runs/")
    told = simulate(1, Weather(flows=(0,), fates=((stop,),), lost_sight=1.0, proofs=0.0))
    assert told.violation is None, str(told)
    assert any("runner.f10.1: ended by EpochOver" in line for line in told.trace), str(told)


def test_a_world_can_be_had_again_from_what_it_prints() -> None:
    for seed in FAST_SEEDS:
        weather = Weather.of(random.Random(seed))
        assert Weather.parse(str(weather)) == weather
    assert str(lived(3)).endswith("again: python -m tests.simulation 3")
    told = simulate(3, Weather(flows=(2,)))
    assert str(told).endswith("""again: python -m tests.simulation 3 --weather '{"flows":[2]}'""")


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


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """How far it is, while it goes on."""

    def out(line: str) -> None:
        with capsys.disabled():
            print(f"  {line}", flush=True)

    return out


@pytest.mark.simulation
@pytest.mark.timeout(0)
def test_the_promises_hold_for_many_seeds(seeds: range, tell: Callable[[str], None]) -> None:
    total = live_through(((seed, None) for seed in seeds), tell)
    _check(total, tell)
    assert total.ends[RunStatus.SUCCEEDED] >= 0.8 * total.ends.total()


@pytest.mark.simulation
@pytest.mark.timeout(0)
def test_a_fault_at_every_single_step(tell: Callable[[str], None]) -> None:
    """Of the first runner, on either flow: it is killed at each of its steps with workers of either kind, and stopped at each with one."""
    total = live_through((world for step in range(1, LAST_STEP) for world in _struck_at(step)), tell)
    _check(total, tell)
    assert total.ends == Counter({RunStatus.SUCCEEDED: total.worlds})


def _struck_at(step: int) -> Iterator[tuple[int, Weather]]:
    for flow, shares_memory in product((0, 1), (True, False)):
        # A stop is where a kill is, and the kind of its workers matters little: each kind at every other step.
        for fault in (Fault.KILL, Fault.STOP) if step % 2 == shares_memory else (Fault.KILL,):
            fates = ((Fate(step, fault, 3 * LEASE_SECONDS),),)
            yield step, Weather(flows=(flow,), shares_memory=shares_memory, fates=fates)


def _check(total: Sum, tell: Callable[[str], None]) -> None:
    tell(str(total))
    assert not total.violations, "\n\n".join(total.violations)
