"""Who did what, and when: a run's events in four lanes, for server, agent, runner and executor. Pure.

The order is the log's. Times are relative to the run's first event; a runner's own events carry its clock. What many elements of
one map did alike becomes one step with a count. Says what the log and the run's journals know, and nothing that merely must have been.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from playhead.cli.moments import after
from playhead.cli.rendering.deeds import deed_of, verb_of
from playhead.cli.rendering.elements import map_of
from playhead.cli.rendering.tables import plain_table
from playhead.core import events as ev
from playhead.core.matching import UNIVERSAL
from playhead.core.names import Epoch, Seq
from playhead.core.replay import event_of
from playhead.core.views import iso
from playhead.ports.server import AgentView
from playhead.ports.store import Recorded

FOLDED_FROM: Final = 4  # elements of one map that did the same are told one by one up to three
MAX_WORKERS: Final = 3  # named in one step; of more their number is told


class Lane(StrEnum):
    SERVER = "server"
    AGENT = "agent"
    RUNNER = "runner"
    EXECUTOR = "executor"


@dataclass(frozen=True, slots=True)
class Cast:
    """What is known of those who act, beside the run's own events: its agents as they last joined, and which worker ended which attempt."""

    agents: Mapping[str, AgentView] = field(default_factory=dict[str, AgentView])
    workers: Mapping[tuple[Epoch, Seq], str] = field(default_factory=dict[tuple[Epoch, Seq], str])


@dataclass(slots=True)
class Step:
    """Something that one of the four did. `first` and `last`: microseconds after the run's first event.

    `who`: as the log names it, such as `client`, `agent/NAME` or `runner/EPOCH`; of an executor its kind. `infrastructure`: of agent and
    runner, if it is known. `workers`: those of the executor's that computed it, if it names them.
    """

    lane: Lane
    who: str
    text: str
    first: int
    last: int
    count: int = 1
    infrastructure: str | None = None
    workers: list[str] = field(default_factory=list[str])
    single: list[Step] = field(default_factory=list["Step"])  # of a folded one, while they are few


def steps_of(recorded: Iterable[Recorded], cast: Cast | None = None) -> list[Step]:
    """The steps in the log's order; a folded one stands where its first event is."""
    steps: list[Step] = []
    folded: dict[tuple[str, str], Step] = {}
    maps: set[str] = set()
    story = _Story(cast or Cast())
    for item in recorded:
        event = event_of(item)
        if not isinstance(event, ev.RunEvent):
            continue
        step = story.told(item, event)
        if isinstance(event, ev.TaskMapped):
            maps.add(event.key)
        mapped = map_of(event.key, maps) if isinstance(event, ev.TaskEvent) else None
        if mapped is None or not isinstance(event, ev.TaskEvent):
            steps.append(step)
            continue
        whole = folded.get((mapped, event.TYPE))
        if whole is None:
            text = f"{mapped}.*  {verb_of(event)}"
            whole = folded[mapped, event.TYPE] = Step(step.lane, step.who, text, step.first, 0, 0)
            steps.append(whole)
        _fold(whole, step)
    return [part for step in steps for part in _unfolded(step)]


def steps_table(steps: Iterable[Step]) -> Table:
    """One column for each lane."""
    steps = list(steps)
    kind = next((step.who for step in steps if step.lane is Lane.EXECUTOR), None)
    heads = [f"EXECUTOR ({kind})" if lane is Lane.EXECUTOR and kind else lane.value.upper() for lane in Lane]
    table = plain_table("WHEN", *heads)
    for step in steps:
        cells = ["" for _ in Lane]
        cells[list(Lane).index(step.lane)] = step_text(step)
        table.add_row(Text(after(step.first), style="dim"), *cells)
    return table


def step_text(step: Step) -> str:
    times = "" if step.count == 1 else f"  ×{step.count:,} until {after(step.last)}"
    return f"{step.text}{times}{_on(step.workers)}"


def step_json(step: Step) -> dict[str, Any]:
    """The shape of a step in `show RUN --steps --json`."""
    return {
        "lane": step.lane.value,
        "who": step.who,
        "infrastructure": step.infrastructure,
        "workers": step.workers,
        "text": step.text,
        "first": step.first,
        "last": step.last,
        "count": step.count,
    }


class _Story:
    """What was said so far of who acts: which executor, and which agent has the run."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._begin: int | None = None
        self._executor = self._run_config = ""
        self._embedded = False
        self._infrastructure: str | None = None

    def told(self, item: Recorded, event: ev.RunEvent) -> Step:
        """The event as a step of its own."""
        moment = event.at if isinstance(event, ev.RunnerEvent) else item.recorded_at
        self._begin = moment if self._begin is None else self._begin
        if isinstance(event, ev.RunScheduled | ev.RunForgotten):
            self._executor, self._run_config = event.executor, event.run_config
            self._embedded = event.origin is ev.Origin.EMBEDDED
        if isinstance(event, ev.RunClaimed):
            self._infrastructure = self._kind_of(event.agent, item.recorded_at)
        lane = _lane(event, item.actor)
        when = moment - self._begin
        step = Step(lane, self._who(lane, event, item.actor), deed_of(event, self._infrastructure), when, when)
        if lane in (Lane.AGENT, Lane.RUNNER):
            step.infrastructure = self._infrastructure
        if item.epoch is not None and item.seq is not None:
            worker = self._cast.workers.get((item.epoch, item.seq))
            step.workers = [] if worker is None else [worker]
        return step

    def _who(self, lane: Lane, event: ev.RunEvent, actor: str) -> str:
        match lane:
            case Lane.EXECUTOR:
                return self._executor
            case Lane.SERVER if not isinstance(event, ev.RunScheduled | ev.RunCancelling):
                return "server"  # it follows from what somebody did, whose name the event carries
            case _:
                return actor

    def _kind_of(self, agent: str, moment: int) -> str | None:
        """The infrastructure that the run names, else the agent's. One that joined since then may have been of another kind."""
        if self._embedded:
            return None
        if self._run_config != UNIVERSAL:
            return self._run_config
        view = self._cast.agents.get(agent)
        return view.kind if view is not None and view.joined_at <= (iso(moment) or "") else None


def _fold(whole: Step, step: Step) -> None:
    whole.count += 1
    whole.first, whole.last = min(whole.first, step.first), max(whole.last, step.last)
    whole.workers += [worker for worker in step.workers if worker not in whole.workers]
    if whole.count < FOLDED_FROM:
        whole.single.append(step)


def _unfolded(step: Step) -> list[Step]:
    return step.single if step.single and step.count < FOLDED_FROM else [step]


def _on(workers: list[str]) -> str:
    """A cluster's own short names stand before the addresses."""
    if not workers:
        return ""
    if len(workers) > MAX_WORKERS:
        return f"  on {len(workers):,} workers"
    names = sorted(worker.partition(" at ")[0] for worker in workers)
    return f"  on {'workers' if len(names) > 1 else 'worker'} {', '.join(names)}"


def _lane(event: ev.RunEvent, actor: str) -> Lane:
    match event:
        case ev.RunClaimed() | ev.RunReleased():
            return Lane.AGENT
        case ev.RunLost() if actor.startswith("agent/"):
            return Lane.AGENT  # it saw the runner end; else a lease ended
        case ev.RunScheduled() | ev.RunReady() | ev.RunCancelling() | ev.RunLost() | ev.RunCrashed() | ev.RunLate():
            return Lane.SERVER
        case ev.RunForgotten():
            return Lane.SERVER
        case ev.TaskStarted() | ev.TaskSucceeded() | ev.TaskFailed() | ev.TaskLost():
            return Lane.EXECUTOR
        case _:
            return Lane.RUNNER
