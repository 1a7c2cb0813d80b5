"""Who did what, and when: a run's events in four lanes, for server, agent, runner and executor. Pure.

The order is the log's. Times are relative to the run's first event; a runner's own events carry its clock. What many elements of
one map did alike becomes one step with a count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rich.table import Table
from rich.text import Text

from playhead.cli.moments import after
from playhead.cli.rendering.elements import map_of
from playhead.cli.rendering.tables import plain_table
from playhead.core import events as ev
from playhead.core.replay import event_of
from playhead.ports.store import Recorded

FOLDED_FROM: Final = 4  # elements of one map that did the same are told one by one up to three


class Lane(StrEnum):
    SERVER = "server"
    AGENT = "agent"
    RUNNER = "runner"
    EXECUTOR = "executor"


@dataclass(slots=True)
class Step:
    """Something that one of the four did. `first` and `last`: microseconds after the run's first event."""

    lane: Lane
    text: str
    first: int
    last: int
    count: int = 1
    told: list[str] = field(default_factory=list[str])  # texts of the single ones, while they are few


def steps_of(recorded: Iterable[Recorded]) -> list[Step]:
    """The steps in the log's order; a folded one stands where its first event is."""
    steps: list[Step] = []
    folded: dict[tuple[str, str], Step] = {}
    maps: set[str] = set()
    begin: int | None = None
    for item in recorded:
        event = event_of(item)
        if not isinstance(event, ev.RunEvent):
            continue
        moment = event.at if isinstance(event, ev.RunnerEvent) else item.recorded_at
        begin = moment if begin is None else begin
        if isinstance(event, ev.TaskMapped):
            maps.add(event.key)
        mapped = map_of(event.key, maps) if isinstance(event, ev.TaskEvent) else None
        what = _what(event)
        if mapped is None or not isinstance(event, ev.TaskEvent):
            steps.append(Step(_lane(event), f"{_subject(event)}{what}", moment - begin, moment - begin))
            continue
        step = folded.get((mapped, event.TYPE))
        if step is None:
            step = folded[mapped, event.TYPE] = Step(
                _lane(event), f"{mapped}.*  {_VERBS[event.TYPE]}", moment - begin, 0, 0
            )
            steps.append(step)
        step.count += 1
        step.first, step.last = min(step.first, moment - begin), max(step.last, moment - begin)
        if step.count < FOLDED_FROM:
            step.told.append(f"{event.key}  {what}")
    return [part for step in steps for part in _unfolded(step)]


def steps_table(steps: Iterable[Step]) -> Table:
    """One column for each lane."""
    table = plain_table("WHEN", *(lane.value.upper() for lane in Lane))
    for step in steps:
        cells = ["" for _ in Lane]
        cells[list(Lane).index(step.lane)] = step_text(step)
        table.add_row(Text(after(step.first), style="dim"), *cells)
    return table


def step_text(step: Step) -> str:
    if step.count == 1:
        return step.text
    return f"{step.text}  ×{step.count:,} until {after(step.last)}"


def _unfolded(step: Step) -> list[Step]:
    if step.count >= FOLDED_FROM or not step.told:
        return [step]
    return [Step(step.lane, text, step.first, step.last) for text in step.told]


def _lane(event: ev.RunEvent) -> Lane:
    match event:
        case ev.RunScheduled() | ev.RunReady() | ev.RunCancelling() | ev.RunLost() | ev.RunCrashed() | ev.RunLate():
            return Lane.SERVER
        case ev.RunClaimed() | ev.RunReleased():
            return Lane.AGENT
        case ev.TaskStarted() | ev.TaskSucceeded() | ev.TaskFailed() | ev.TaskLost():
            return Lane.EXECUTOR
        case _:
            return Lane.RUNNER


def _subject(event: ev.RunEvent) -> str:
    return f"{event.key}  " if isinstance(event, ev.TaskEvent) else ""


_VERBS: Final = {
    ev.TaskSubmitted.TYPE: "asked for",
    ev.TaskMapped.TYPE: "asked for",
    ev.TaskStarted.TYPE: "begun",
    ev.TaskSucceeded.TYPE: "succeeded",
    ev.TaskRetrying.TYPE: "failed, to be retried",
    ev.TaskFailed.TYPE: "failed",
    ev.TaskCancelled.TYPE: "cancelled",
    ev.TaskLost.TYPE: "lost with its worker",
    ev.FactRecorded.TYPE: "recorded",
    ev.TimerSet.TYPE: "timer set",
    ev.TimerFired.TYPE: "timer fired",
}


def _what(event: ev.RunEvent) -> str:
    if isinstance(event, ev.TaskEvent):
        return _task_words(event)
    return _run_words(event)


def _task_words(event: ev.TaskEvent) -> str:
    verb = _VERBS[event.TYPE]
    match event:
        case ev.TaskMapped():
            return f"map of {event.width:,} asked for"
        case ev.TaskStarted() | ev.TaskSucceeded() if event.attempt > 1:
            return f"{verb} (attempt {event.attempt})"
        case ev.TaskRetrying() | ev.TaskFailed():
            return f"{verb}: {event.category}"
        case ev.TaskLost():
            return f"{verb}{_how(event.exit_code, event.signal)}"
        case ev.FactRecorded():
            return f"{verb}: {event.kind}"
        case _:
            return verb


def _run_words(event: ev.RunEvent) -> str:
    match event:
        case ev.RunScheduled():
            return {
                ev.Origin.ASKED: "run asked for",
                ev.Origin.SCHEDULE: "run asked for by its schedule",
                ev.Origin.PRESET: "run asked for by a preset",
                ev.Origin.EMBEDDED: "run begun by a program",
            }[event.origin]
        case ev.RunReady():
            return "ready for an agent"
        case ev.RunClaimed():
            return f"{event.agent} claims it, epoch {event.epoch}"
        case ev.RunReleased():
            return f"handed back: {event.reason}"
        case ev.RunStarted():
            return f"runner of epoch {event.epoch} begins"
        case ev.RunLost():
            return f"runner of epoch {event.epoch} lost: {event.reason}{_how(event.exit_code, event.signal)}"
        case ev.RunCancelling():
            return "asked to cancel"
        case ev.RunCrashed():
            return f"run crashed: {event.reason}"
        case ev.RunLate():
            return f"{event.outcome} came too late, and is only kept"
        case ev.JournalAdopted():
            earlier = sum(cut.records for cut in event.cuts)
            return f"takes up {earlier:,} records of its predecessors" if event.cuts else "journal opened"
        case ev.RunSucceeded():
            return "run succeeded"
        case ev.RunFailed():
            return f"run failed: {event.category}" + (f" in {event.task}" if event.task else "")
        case ev.RunCancelled():
            return "run cancelled"
        case _:
            return event.TYPE


def _how(exit_code: int | None, signal: int | None) -> str:
    if signal is not None:
        return f" (signal {signal})"
    return f" (exit code {exit_code})" if exit_code is not None else ""
