"""The local infrastructure keeps the port's promises, and one that breaks a promise is told which. All with real processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from playhead.agent.infrastructure import Infrastructure
from playhead.agent.processes import ProcessInfrastructure
from playhead.testing.infrastructures import INFRASTRUCTURE_SUITE, Life, check_infrastructure
from tests.conformance import planted_infrastructures as planted

Make = Callable[[Path, Sequence[str]], Infrastructure]


def lives_in(folder: Path, make: Make) -> Life:
    @asynccontextmanager
    async def life(agent: str, command: Sequence[str]) -> AsyncGenerator[Infrastructure]:
        (folder / agent).mkdir(exist_ok=True)
        yield make(folder / agent, command)

    return life


def local(folder: Path, command: Sequence[str]) -> Infrastructure:
    return ProcessInfrastructure(folder, command=command)


@pytest.mark.real
@pytest.mark.parametrize("check", INFRASTRUCTURE_SUITE.names)
async def test_the_local_infrastructure_conforms(tmp_path: Path, check: str) -> None:
    results = await check_infrastructure(lives_in(tmp_path, local), only=[check])
    assert [(result.name, result.problem) for result in results] == [(check, None)]


PLANTED: dict[str, tuple[Make, str]] = {
    "a_runner_gets_its_order": (planted.ChangesOrders, "read another order"),
    "one_epoch_is_launched_once": (planted.LaunchesTwice, "three launches of one epoch started 3 runners"),
    "each_epoch_has_a_runner_of_its_own": (planted.ConfusesEpochs, "gave the runner of another"),
    "an_end_is_told_with_its_code": (planted.SaysThatAllIsWell, "ended with the code 7"),
    "no_end_is_told_before_it_is": (planted.TellsAnEndThatWasNot, "was told while it ran"),
    "cancelling_the_wait_leaves_the_runner_alone": (planted.EndsRunnersWithTheirWaiter, "signal=9"),
    "what_a_runner_started_ends_with_it": (planted.LeavesWhatARunnerStarted, "that it started was alive"),
    "terminate_asks_a_runner_to_end": (planted.NeverAsks, "signal=9"),
    "kill_ends_one_that_is_deaf": (planted.SaysThatAllIsWell, "was killed, and"),
    "one_that_has_ended_is_left_in_peace": (planted.TellsTheKillOfOneThatHadEnded, "changed how a runner has ended"),
    "tending_ends_no_runner": (planted.TendsToDeath, "signal=9"),
    "a_survivor_is_found_and_adopted": (planted.ForgetsSurvivors, "0 survivors were found"),
    "one_that_ended_between_two_lives_is_found": (planted.ForgetsSurvivors, "0 survivors were found"),
    "a_survivor_can_be_killed": (planted.LosesSightOfSurvivors, "was killed, and LostSight"),
    "what_was_forgotten_is_no_survivor": (planted.RemembersTheForgotten, "and forgotten is a survivor"),
}


@pytest.mark.real
@pytest.mark.parametrize("check", INFRASTRUCTURE_SUITE.names)
async def test_a_planted_bug_is_named(tmp_path: Path, check: str) -> None:
    make, problem = PLANTED[check]
    (result,) = await check_infrastructure(lives_in(tmp_path, make), only=[check])
    await sweep(tmp_path)
    assert problem in (result.problem or "it passed")


@pytest.mark.real
async def test_an_end_that_changes_is_named(tmp_path: Path) -> None:
    life = lives_in(tmp_path, planted.ChangesItsMind)
    (result,) = await check_infrastructure(life, only=["an_end_is_told_with_its_code"])
    assert result.problem == "asked again, `wait` told another end"


async def sweep(folder: Path) -> None:
    """End what an infrastructure left that does not know its own runners."""
    for place in {record.parents[1] for record in folder.rglob("process.json")}:
        for launched in await ProcessInfrastructure(place).survivors():
            await launched.kill()
            await launched.wait()
            await launched.forget(keep_output=False)
