"""What a run waits for, as a table: each thing that may be missing is named, with what would help; and what its tasks wait for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from playhead.core import events as ev
from playhead.core.kinds import CrashReason, FailureCategory, LossReason, ReleaseReason
from playhead.core.matching import Lack
from playhead.core.names import Micros, TaskKey
from playhead.core.standings import AgentStanding, Known, Standing, standings
from playhead.core.state import RunState
from playhead.core.task_waits import MAX_TASKS, TaskWaiting, TaskWaitsFor, first_waiting, task_waiting
from playhead.core.tasks import task_of
from playhead.core.troubles import FAILED, RELEASED, Trouble
from playhead.core.waiting import MAX_AGENTS, RunWaiting, WaitsFor, run_waiting
from tests.core.samples import KEY_ID, MAC, RUNNING, STORAGE, after, claimed, scheduled, task_events

SILENCE = 15.0
READY = after(scheduled(), ev.RunReady())


def joined(**more: Any) -> ev.AgentJoined:
    facts: dict[str, Any] = {"kind": "local", "storages": (STORAGE,), "key_ids": (KEY_ID,), "python": "3.11"}
    return ev.AgentJoined(agent="otter", capacity=2, version="0.1", **(facts | more))


OTTER = Known(
    agent="otter", offers=joined(), capacity=2, busy=0, draining=False, left=False, last_contact_seconds=1.0, gave_back=None
)  # fmt: skip


def why(state: RunState, *agents: Known, now: int = 10, trouble: Trouble | None = None) -> RunWaiting:
    near = standings(state.head, agents, silence_seconds=SILENCE)
    return run_waiting(state, near, now=Micros(now), trouble=trouble)


@pytest.mark.parametrize(
    ("change", "standing", "waits_for", "says"),
    [
        ({}, Standing.FITS, WaitsFor.CLAIM, "agent otter can take it"),
        ({"busy": 2}, Standing.FULL, WaitsFor.ROOM, "otter has 2 of 2"),
        ({"last_contact_seconds": 15.1}, Standing.SILENT, WaitsFor.AGENT, "was not heard of lately"),
        ({"last_contact_seconds": None}, Standing.SILENT, WaitsFor.AGENT, "was not heard of lately"),
        ({"draining": True}, Standing.DRAINING, WaitsFor.AGENT, "it takes no more runs"),
        ({"left": True}, Standing.LEFT, WaitsFor.AGENT, "has left"),
        ({"gave_back": ReleaseReason.NOT_ALLOWED}, Standing.REFUSES, WaitsFor.AGENT, "not on the agent's lists"),
        ({"gave_back": ReleaseReason.REFUSED}, Standing.REFUSES, WaitsFor.AGENT, "not what was signed"),
        (
            {"gave_back": ReleaseReason.LAUNCH_FAILED},
            Standing.FITS,
            WaitsFor.CLAIM,
            "gave it back (launch_failed: the agent could",
        ),
        ({"gave_back": ReleaseReason.DRAINING}, Standing.FITS, WaitsFor.CLAIM, "gave it back (draining: "),
        ({"offers": joined(kind="docker")}, Standing.LACKS, WaitsFor.AGENT, "lacks kind local (it has docker)"),
        ({"offers": joined(storages=())}, Standing.LACKS, WaitsFor.AGENT, f"lacks storage {STORAGE} (it has none)"),
        ({"offers": joined(key_ids=())}, Standing.LACKS, WaitsFor.AGENT, f"lacks key {KEY_ID}"),
    ],
)
def test_one_agent_and_what_stands_between_it_and_the_run(
    change: dict[str, Any], standing: Standing, waits_for: WaitsFor, says: str
) -> None:
    told = why(READY, replace(OTTER, **change))
    assert [one.standing for one in told.agents] == [standing]
    assert told.waits_for is waits_for
    assert says in told.because
    mendable = (waits_for, change.get("gave_back")) not in {
        (WaitsFor.CLAIM, None),
        (WaitsFor.CLAIM, ReleaseReason.DRAINING),
    }
    assert (told.help is not None) is mendable


def test_labels_and_python_are_named_with_what_would_help() -> None:
    asked = scheduled().model_copy(update={"labels": ("gpu", "eu"), "python": "3.12"})
    told = why(after(asked, ev.RunReady()), replace(OTTER, offers=joined(labels=("eu",))))
    assert "lacks label gpu (it has eu); Python 3.12 (it has 3.11)" in told.because
    assert told.help is not None
    assert "with label gpu" in told.help
    assert "with Python 3.12" in told.help
    assert [(one.what, one.wanted, one.present) for one in told.agents[0].lacks] == [
        (Lack.LABELS, ("gpu",), ("eu",)),
        (Lack.PYTHON, ("3.12",), ("3.11",)),
    ]


def test_a_run_that_names_no_image_is_not_for_containers_without_a_default_one() -> None:
    state = after(scheduled().model_copy(update={"run_config": "universal"}), ev.RunReady())
    told = why(state, replace(OTTER, offers=joined(kind="docker", universal=False)))
    assert "lacks kind universal (it has docker)" in told.because
    assert told.help is not None
    assert "--default-image" in told.help
    assert why(state, replace(OTTER, offers=joined(kind="docker"))).waits_for is WaitsFor.CLAIM


def test_the_nearest_agent_decides_and_comes_first() -> None:
    """One that fits and is full is nearer than one that left, and that one nearer than those that lack something."""
    far = replace(OTTER, agent="far", offers=joined(kind="docker", key_ids=()))
    docker = replace(OTTER, agent="docker", offers=joined(kind="docker"))
    gone = replace(OTTER, agent="gone", left=True)
    full = replace(OTTER, agent="full", busy=9)
    away = replace(docker, agent="away", left=True)
    told = why(READY, away, far, docker, gone, full)
    assert [one.agent for one in told.agents] == ["full", "gone", "docker", "far", "away"]
    assert told.waits_for is WaitsFor.ROOM
    assert "gone" not in told.because


def test_many_agents_are_counted_and_the_nearest_named() -> None:
    told = why(READY, *(replace(OTTER, agent=f"otter-{n:03}", busy=2) for n in range(50)))
    assert told.because.endswith("otter-000 has 2 of 2, otter-001 has 2 of 2, otter-002 has 2 of 2 and 47 more")
    assert len(told.agents) == MAX_AGENTS


@pytest.mark.parametrize(
    ("events", "waits_for", "says"),
    [
        ((scheduled(at=1_700_000_000_000_000),), WaitsFor.TIME, "2023-11-14T22:13:20"),
        ((scheduled(at=5),), WaitsFor.TIME, "has not made it ready yet"),
        ((scheduled(), ev.RunReady()), WaitsFor.AGENT, "no agent has ever joined"),
        ((scheduled(), ev.RunReady(), claimed()), WaitsFor.RUNNER, "agent otter has claimed it"),
        (RUNNING, WaitsFor.TASKS, "0 tasks are computed, 0 wait"),
        ((*RUNNING, ev.RunCancelling()), WaitsFor.END, "asked to end"),
        ((*RUNNING, ev.RunCancelled(at=5)), WaitsFor.NOTHING, "it has ended: cancelled"),
        (
            (*RUNNING, ev.RunFailed(at=5, mac=MAC, category=FailureCategory.FLOW_LOAD)),
            WaitsFor.NOTHING,
            "it has failed: the sealed code does not load where it ran",
        ),
        (
            (*RUNNING, ev.RunFailed(at=5, mac=MAC, category=FailureCategory.LOST, task="page")),
            WaitsFor.NOTHING,
            "it has failed in task page: what should compute it was not there, or was lost",
        ),
    ],
)
def test_a_run_waits_for_one_thing_at_a_time(events: tuple[ev.Event, ...], waits_for: WaitsFor, says: str) -> None:
    told = why(after(*events))
    assert told.waits_for is waits_for
    assert says in told.because


def test_what_tasks_wait_for() -> None:
    page, parse = task_events("page"), task_events("parse")
    state = after(
        *RUNNING,
        page[0],
        ev.TaskMapped(at=1, key="each", name="each", width=3, each=("parts",), after=("page",)),
        ev.TaskMapped(at=1, key="parts", name="parts", width=3),
        ev.TaskSubmitted(at=1, key="sum", name="sum", after=("parts", "page")),
        ev.TaskStarted(at=2, key="page"),
        ev.TaskStarted(at=2, key="parts.1"),
        ev.TaskSucceeded(at=3, key="parts.1", mac=MAC, size=1),
        parse[0],
        parse[1],
        parse[3],
    )
    told = {one.key: one for one in why(state).tasks}
    assert list(told) == [
        "each.0",
        "each.1",
        "each.2",
        "parts.0",
        "parts.2",
        "sum",
        "parse",
    ]  # as the flow asked for them
    assert told["each.0"].on == ("page", "parts.0")
    assert told["each.1"].on == ("page",)
    assert told["parts.0"].waits_for is TaskWaitsFor.EXECUTOR
    assert told["sum"].on == ("parts", "page")
    assert (told["parse"].waits_for, told["parse"].until) == (TaskWaitsFor.TIME, "1970-01-01T00:00:00.000009Z")
    assert of(state, "page").waits_for is TaskWaitsFor.RESULT
    assert of(state, "parts.1").waits_for is TaskWaitsFor.NOTHING
    done = after(ev.TaskSucceeded(at=4, key="page", mac=MAC, size=1), state=state)
    assert of(done, "each.1").waits_for is TaskWaitsFor.EXECUTOR


def of(state: RunState, key: str) -> TaskWaiting:
    task = task_of(state, TaskKey(key))
    assert task is not None
    return task_waiting(state, task)


def test_of_very_many_tasks_the_first_are_told() -> None:
    state = after(*RUNNING, ev.TaskMapped(at=1, key="wide", name="wide", width=100_000), task_events("last")[0])
    assert [one.key for one in first_waiting(state)] == [f"wide.{n}" for n in range(MAX_TASKS)]


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ({"reason": LossReason.EXITED, "exit_code": 0}, "when its process ended with exit code 0"),
        ({"reason": LossReason.SIGNALLED, "signal": 9}, "when its process was killed by SIGKILL"),
        ({"reason": LossReason.SIGNALLED, "signal": 99}, "when its process was killed by signal 99"),
        ({"reason": LossReason.LEASE_EXPIRED}, "when nothing was heard of it"),
        ({"reason": LossReason.OUT_OF_MEMORY}, "when its container was out of memory"),
    ],
)
def test_a_run_that_lost_its_runner_says_how_while_it_waits_for_another_and_when_it_has_crashed(
    loss: dict[str, Any], says: str
) -> None:
    lost = ev.RunLost(epoch=1, **loss)
    ready = after(*RUNNING, lost)
    told = why(ready, OTTER, trouble=lost)
    assert told.waits_for is WaitsFor.CLAIM
    assert (told.lost or "").startswith(f"its runner was lost once, {says}")
    crashed = why(after(ev.RunCrashed(reason=CrashReason.LOSSES), state=ready), trouble=lost)
    assert crashed.because.startswith("it has crashed: its runner was lost 1 times, as often as a run may lose one")
    assert says in crashed.because
    assert crashed.lost is None
    assert crashed.help


def test_a_runner_that_its_agent_ended_is_no_loss_that_counts() -> None:
    lost = ev.RunLost(epoch=1, reason=LossReason.DRAINED)
    assert why(after(*RUNNING, lost), OTTER, trouble=lost).lost == "its runner was lost when its agent ended"


@pytest.mark.parametrize(
    "reason", [reason for reason in ReleaseReason if reason is not ReleaseReason.DRAINING], ids=str
)
def test_why_a_claim_went_back_is_said_with_what_would_help_as_long_as_it_waits_and_when_it_has_crashed(
    reason: ReleaseReason,
) -> None:
    released = ev.RunReleased(epoch=1, reason=reason)
    waiting = after(scheduled(), ev.RunReady(), claimed(), released)
    told = why(waiting, replace(OTTER, gave_back=reason), trouble=released)
    crashed = why(after(ev.RunCrashed(reason=CrashReason.RELEASES), state=waiting), trouble=released)
    for one in (told, crashed):
        assert RELEASED[reason] in one.because
        assert one.help


@pytest.mark.parametrize(
    "since", [{"left": True}, {"draining": True}, {"busy": 2}, {"last_contact_seconds": 99.0}], ids=str
)
def test_why_it_went_back_is_said_also_where_the_agent_cannot_take_it_again_now(since: dict[str, Any]) -> None:
    told = why(READY, replace(OTTER, gave_back=ReleaseReason.IMAGE_MISSING, **since))
    assert (
        f"otter had it before, and gave it back (image_missing: {RELEASED[ReleaseReason.IMAGE_MISSING]})"
        in told.because
    )


def test_every_standing_and_every_reason_has_its_words() -> None:
    for standing in Standing:
        one = AgentStanding(
            agent="otter", kind="local", standing=standing, lacks=(), busy=0, capacity=1, last_contact_seconds=None,
            gave_back=ReleaseReason.REFUSED if standing is Standing.REFUSES else None,
        )  # fmt: skip
        assert run_waiting(READY, [one], now=Micros(0)).because
    assert RELEASED.keys() == set(ReleaseReason)
    assert FAILED.keys() == set(FailureCategory)
