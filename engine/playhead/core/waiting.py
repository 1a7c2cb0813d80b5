"""Why a run waits: the one thing that it waits for now, in a sentence, and what would make it go on. Pure.

A run waits first for its time, then for an agent that could take it, for room there, for its runner, and for its tasks. One that has ended
waits for nothing: what ended it is said, as far as the log knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from playhead.core import events as ev
from playhead.core import troubles
from playhead.core.kinds import CrashReason, LossReason, ReleaseReason
from playhead.core.matching import UNIVERSAL, Lack
from playhead.core.names import Micros
from playhead.core.standings import AgentStanding, Lacking, Standing
from playhead.core.state import RunHead, RunState, RunStatus, TaskState, TaskStatus
from playhead.core.task_waits import TaskWaiting, first_waiting, task_waiting
from playhead.core.views import View, iso

MAX_AGENTS: Final = 20  # told of at once, the nearest
MAX_NAMED: Final = 3  # agents in a sentence


class WaitsFor(StrEnum):
    TIME = "time"  # it is not due
    AGENT = "agent"  # there is none that could take it
    ROOM = "room"  # those that could are full
    CLAIM = "claim"  # an agent can take it now
    RUNNER = "runner"  # an agent has it, and its runner has not begun
    TASKS = "tasks"  # its runner is at work
    END = "end"  # it was asked to end
    NOTHING = "nothing"  # it has ended


class RunWaiting(View):
    run_id: str
    flow: str
    state: RunStatus
    waits_for: WaitsFor
    because: str  # a sentence
    help: str | None  # what would make it go on, where somebody can do that
    lost: str | None  # how its last runner was lost, of a run that has not ended and had one before
    due: str | None  # while it is scheduled
    agents: tuple[AgentStanding, ...]  # while it is scheduled or ready: the nearest 20
    tasks: tuple[TaskWaiting, ...]  # the one that was asked for; or the first 20 that wait, while its runner is at work


def run_waiting(
    state: RunState,
    agents: Sequence[AgentStanding],
    *,
    now: Micros,
    trouble: troubles.Trouble | None = None,
    task: TaskState | None = None,
) -> RunWaiting:
    """`agents` are the nearest first; of a run that has an agent they say nothing, and may be left out. `trouble`: its newest, if known."""
    head = state.head
    reason = _reason(state, agents, now, trouble)
    tasks = first_waiting(state) if head.status is RunStatus.RUNNING else ()
    return RunWaiting(
        run_id=head.run,
        flow=head.flow,
        state=head.status,
        waits_for=reason.waits_for,
        because=reason.because,
        help=reason.help,
        lost=None if head.status.terminal else _lost(head, trouble),
        due=iso(head.scheduled_for) if head.status is RunStatus.SCHEDULED else None,
        agents=tuple(agents[:MAX_AGENTS]),
        tasks=tasks if task is None else (task_waiting(state, task),),
    )


@dataclass(frozen=True, slots=True)
class _Reason:
    waits_for: WaitsFor
    because: str
    help: str | None = None


def _lost(head: RunHead, trouble: troubles.Trouble | None) -> str | None:
    if not isinstance(trouble, ev.RunLost):
        return None
    times = {0: "", 1: " once,"}.get(
        head.losses, f" {head.losses} times, the last time"
    )  # a drained one does not count
    return f"its runner was lost{times} {troubles.lost(trouble)}"


def _reason(state: RunState, agents: Sequence[AgentStanding], now: Micros, trouble: troubles.Trouble | None) -> _Reason:
    head = state.head
    match head.status:
        case RunStatus.SCHEDULED if head.scheduled_for > now:
            return _Reason(WaitsFor.TIME, f"it is due at {iso(head.scheduled_for)}")
        case RunStatus.SCHEDULED:
            because = "it is due, and the server has not made it ready yet"
            return _Reason(
                WaitsFor.TIME, because, "it does that within a second; `playhead doctor` looks whether it is well"
            )
        case RunStatus.READY:
            return _WHY_READY[agents[0].standing](agents) if agents else _nobody()
        case RunStatus.CLAIMED:
            return _Reason(WaitsFor.RUNNER, f"agent {head.agent} has claimed it, and its runner has not begun")
        case RunStatus.RUNNING:
            return _Reason(WaitsFor.TASKS, f"its runner at agent {head.agent} is at work: {_counted(state)}")
        case RunStatus.CANCELLING:
            return _Reason(WaitsFor.END, f"it was asked to end, and its runner at agent {head.agent} has not ended yet")
        case RunStatus.FAILED:
            return _Reason(WaitsFor.NOTHING, f"it has failed{_failure(head)}", _FAILURES.format(head.run))
        case RunStatus.CRASHED:
            because = f"it has crashed: {troubles.crashed(head.crash, head.losses, trouble)}"
            return _Reason(WaitsFor.NOTHING, because, _after_crash(head, trouble))
        case _:
            return _Reason(WaitsFor.NOTHING, f"it has ended: {head.status}")


def _failure(head: RunHead) -> str:
    where = f" in task {head.failed_task}" if head.failed_task is not None else ""
    return where + (f": {troubles.FAILED[head.category]}" if head.category is not None else "")


def _after_crash(head: RunHead, trouble: troubles.Trouble | None) -> str | None:
    match trouble:
        case ev.RunReleased(reason=reason):
            return _AFTER_RELEASE.get(reason)
        case ev.RunLost(reason=LossReason.OUT_OF_MEMORY):
            return "give its container more memory: DockerRun(memory_mb=…)"
        case _:
            return None if head.crash is CrashReason.EMBEDDING_ENDED else _OUTPUT


def _counted(state: RunState) -> str:
    running = state.count(TaskStatus.RUNNING)
    waiting = state.count(TaskStatus.SUBMITTED) + state.count(TaskStatus.RETRYING)
    return f"{running} task{'s are' if running != 1 else ' is'} computed, {waiting} wait{'s' if waiting == 1 else ''}"


# --- a ready run: the nearest agent decides what is told ----------------------------------------------------------------


def _nobody() -> _Reason:
    return _Reason(WaitsFor.AGENT, "no agent has ever joined", "start one: `playhead agent local`, or `playhead up`")


def _fits(agents: Sequence[AgentStanding]) -> _Reason:
    nearest = agents[0]
    if nearest.gave_back is None:
        return _Reason(WaitsFor.CLAIM, f"{_named(agents)} can take it, with room for more")
    why = troubles.RELEASED[nearest.gave_back]
    because = f"agent {nearest.agent} gave it back ({nearest.gave_back}: {why}), and takes it again after a rest"
    return _Reason(WaitsFor.CLAIM, because, _AFTER_RELEASE.get(nearest.gave_back))


def _full(agents: Sequence[AgentStanding]) -> _Reason:
    busy = _listed([f"{one.agent} has {one.busy} of {one.capacity}" for one in _like_the_nearest(agents)])
    help_text = "it goes on when one of their runs ends; or start another agent, or one of them with more --capacity"
    return _Reason(WaitsFor.ROOM, f"every agent that fits is full: {busy}{_before(agents)}", help_text)


def _silent(agents: Sequence[AgentStanding]) -> _Reason:
    help_text = "start it again, or look whether it reaches the server"
    return _Reason(
        WaitsFor.AGENT, f"{_named(agents)} would fit, and was not heard of lately{_before(agents)}", help_text
    )


def _draining(agents: Sequence[AgentStanding]) -> _Reason:
    return _Reason(
        WaitsFor.AGENT,
        f"{_named(agents)} would fit, and drains: it takes no more runs{_before(agents)}",
        "start another one like it",
    )


def _refuses(agents: Sequence[AgentStanding]) -> _Reason:
    gave_back = agents[0].gave_back
    assert gave_back is not None, "it refuses by what it gave back"
    because = f"{_named(agents)} had it, and takes it no more: {troubles.RELEASED[gave_back]}"
    return _Reason(WaitsFor.AGENT, because, "the agent's own log says which")


def _left(agents: Sequence[AgentStanding]) -> _Reason:
    return _Reason(WaitsFor.AGENT, f"{_named(agents)} would fit, and has left{_before(agents)}", "start it again")


def _before(agents: Sequence[AgentStanding]) -> str:
    """Why the nearest of them gave the run back, if it had it."""
    nearest = agents[0]
    if nearest.gave_back is None:
        return ""
    return f". {nearest.agent} had it before, and gave it back ({nearest.gave_back}: {troubles.RELEASED[nearest.gave_back]})"


def _lacks(agents: Sequence[AgentStanding]) -> _Reason:
    nearest = agents[0]
    lacks = "; ".join(
        f"{_WORD[one.what]} {', '.join(one.wanted)} (it has {', '.join(one.present) or 'none'})"
        for one in nearest.lacks
    )
    helps = "; ".join(_help(one) for one in nearest.lacks)
    return _Reason(WaitsFor.AGENT, f"no agent fits. The nearest, {nearest.agent}, lacks {lacks}", helps)


def _help(lacking: Lacking) -> str:
    if lacking.wanted == (UNIVERSAL,):
        return "the run names no image: give the agent a --default-image, or the flow a run config with one, or start a local agent"
    return _HELP[lacking.what].format(", ".join(lacking.wanted))


_WHY_READY: Final[dict[Standing, Callable[[Sequence[AgentStanding]], _Reason]]] = {
    Standing.FITS: _fits,
    Standing.FULL: _full,
    Standing.SILENT: _silent,
    Standing.DRAINING: _draining,
    Standing.REFUSES: _refuses,
    Standing.LEFT: _left,
    Standing.LACKS: _lacks,
}
_AFTER_RELEASE: Final[Mapping[ReleaseReason, str]] = {
    ReleaseReason.LAUNCH_FAILED: "the agent's own log says why it could not launch it",
    ReleaseReason.LAUNCH_TIMED_OUT: "the agent's own log says how far its launch came",
    ReleaseReason.RUNNER_DIED: "the agent's own log says how, and where its output is",
    ReleaseReason.STORAGE_UNREACHABLE: "is it there, and may the agent read it? Containers must have it under the agent's own path",
    ReleaseReason.REFUSED: "the agent's own log says which",
    ReleaseReason.NOT_ALLOWED: "the agent's own log says which",
    ReleaseReason.IMAGE_MISSING: "build or pull it on the engine's host, or give the agent credentials for its registry",
    ReleaseReason.IMAGE_UNFIT: "build it with the agent's version of Playhead and Python; the agent's own log says what differs",
    ReleaseReason.INFRASTRUCTURE_UNREACHABLE: "is it running, and may the agent use it? `playhead doctor` there looks",
}
_FAILURES: Final = "`playhead show {} --failures` says what was raised, and where"
_OUTPUT: Final = "the agent's own log says where the runner's output is"
_WORD: Final = {
    Lack.KIND: "kind", Lack.LABELS: "label", Lack.STORAGE: "storage", Lack.KEY: "key", Lack.PYTHON: "Python",
}  # fmt: skip
_HELP: Final = {
    Lack.KIND: "start an agent of kind {}",
    Lack.LABELS: "start an agent with label {}, or ask for the run without it",
    Lack.STORAGE: "start an agent with storage {}, into which the flow was sealed",
    Lack.KEY: "bring key {} to the agent: `playhead key export` here, `playhead key import` there",
    Lack.PYTHON: "start an agent with Python {}; or register the flow from a module that can be imported, which any version can load",
}


def _named(agents: Sequence[AgentStanding]) -> str:
    alike = _like_the_nearest(agents)
    return f"agent{'s' * (len(alike) > 1)} {_listed([one.agent for one in alike])}"


def _like_the_nearest(agents: Sequence[AgentStanding]) -> list[AgentStanding]:
    return [one for one in agents if one.standing is agents[0].standing]


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - MAX_NAMED
    return ", ".join(texts[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
