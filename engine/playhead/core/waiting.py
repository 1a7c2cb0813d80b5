"""Why a run waits: the one thing that it waits for now, in a sentence, and what would make it go on. Pure.

A run waits first for its time, then for an agent that could take it, for room there, for its runner, and for its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from playhead.core.kinds import ReleaseReason
from playhead.core.matching import UNIVERSAL, Lack
from playhead.core.names import Micros
from playhead.core.standings import AgentStanding, Lacking, Standing
from playhead.core.state import RunState, RunStatus, TaskState, TaskStatus
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
    due: str | None  # while it is scheduled
    agents: tuple[AgentStanding, ...]  # while it is scheduled or ready: the nearest 20
    tasks: tuple[TaskWaiting, ...]  # the one that was asked for; or the first 20 that wait, while its runner is at work


def run_waiting(
    state: RunState, agents: Sequence[AgentStanding], *, now: Micros, task: TaskState | None = None
) -> RunWaiting:
    """`agents` are the nearest first; of a run that has an agent they say nothing, and may be left out."""
    head = state.head
    reason = _reason(state, agents, now)
    tasks = first_waiting(state) if head.status is RunStatus.RUNNING else ()
    return RunWaiting(
        run_id=head.run,
        flow=head.flow,
        state=head.status,
        waits_for=reason.waits_for,
        because=reason.because,
        help=reason.help,
        due=iso(head.scheduled_for) if head.status is RunStatus.SCHEDULED else None,
        agents=tuple(agents[:MAX_AGENTS]),
        tasks=tasks if task is None else (task_waiting(state, task),),
    )


@dataclass(frozen=True, slots=True)
class _Reason:
    waits_for: WaitsFor
    because: str
    help: str | None = None


def _reason(state: RunState, agents: Sequence[AgentStanding], now: Micros) -> _Reason:
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
        case _:
            return _Reason(WaitsFor.NOTHING, f"it has ended: {head.status}")


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
    because = f"agent {nearest.agent} gave it back ({nearest.gave_back}), and takes it again after a rest"
    return _Reason(WaitsFor.CLAIM, because, _AFTER_RELEASE.get(nearest.gave_back))


def _full(agents: Sequence[AgentStanding]) -> _Reason:
    busy = _listed([f"{one.agent} has {one.busy} of {one.capacity}" for one in _like_the_nearest(agents)])
    help_text = "it goes on when one of their runs ends; or start another agent, or one of them with more --capacity"
    return _Reason(WaitsFor.ROOM, f"every agent that fits is full: {busy}", help_text)


def _silent(agents: Sequence[AgentStanding]) -> _Reason:
    help_text = "start it again, or look whether it reaches the server"
    return _Reason(WaitsFor.AGENT, f"{_named(agents)} would fit, and was not heard of lately", help_text)


def _draining(agents: Sequence[AgentStanding]) -> _Reason:
    return _Reason(
        WaitsFor.AGENT, f"{_named(agents)} would fit, and drains: it takes no more runs", "start another one like it"
    )


def _refuses(agents: Sequence[AgentStanding]) -> _Reason:
    why = _WHY_REFUSED[agents[0].gave_back]
    return _Reason(
        WaitsFor.AGENT, f"{_named(agents)} had it, and takes it no more: {why}", "the agent's own log says which"
    )


def _left(agents: Sequence[AgentStanding]) -> _Reason:
    return _Reason(WaitsFor.AGENT, f"{_named(agents)} would fit, and has left", "start it again")


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
_AFTER_RELEASE: Final[dict[ReleaseReason, str]] = {
    ReleaseReason.LAUNCH_FAILED: "the agent's own log says why it could not launch it",
    ReleaseReason.LAUNCH_TIMED_OUT: "the agent's own log says how far its launch came",
    ReleaseReason.RUNNER_DIED: "its runner ended before it began: the agent's own log says how, and where its output is",
    ReleaseReason.STORAGE_UNREACHABLE: "the agent could not reach your storage: is it there, and may the agent read it?",
}
_WHY_REFUSED: Final[dict[ReleaseReason | None, str]] = {
    ReleaseReason.NOT_ALLOWED: "it is not on the agent's lists of what it takes",
    ReleaseReason.REFUSED: "what the server says of it is not what was signed",
}
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
