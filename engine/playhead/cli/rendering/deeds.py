"""What an event of a run says that somebody did, in a few words. Pure; knows no lanes and no times."""

from __future__ import annotations

from typing import Final

from playhead.core import events as ev

_VERBS: Final = {
    ev.TaskSubmitted.TYPE: "asked for",
    ev.TaskMapped.TYPE: "asked for",
    ev.TaskStarted.TYPE: "handed over",
    ev.TaskSucceeded.TYPE: "succeeded",
    ev.TaskRetrying.TYPE: "failed, to be retried",
    ev.TaskFailed.TYPE: "failed",
    ev.TaskCancelled.TYPE: "cancelled",
    ev.TaskLost.TYPE: "lost with its worker",
    ev.FactRecorded.TYPE: "recorded",
    ev.TimerSet.TYPE: "timer set",
    ev.TimerFired.TYPE: "timer fired",
}


def deed_of(event: ev.RunEvent, infrastructure: str | None) -> str:
    """`infrastructure`: where the run's runner is, if that is known."""
    if isinstance(event, ev.TaskEvent):
        return f"{event.key}  {_task_deed(event)}"
    return _run_deed(event, infrastructure)


def verb_of(event: ev.TaskEvent) -> str:
    """What many elements of a map have in common that did the same."""
    return _VERBS[event.TYPE]


def _task_deed(event: ev.TaskEvent) -> str:
    verb = verb_of(event)
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


def _run_deed(event: ev.RunEvent, infrastructure: str | None) -> str:
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
            where = f" ({infrastructure})" if infrastructure else ""
            return f"{event.agent}{where} claims it, epoch {event.epoch}"
        case ev.RunReleased():
            return f"handed back: {event.reason}"
        case ev.RunStarted():
            where = f"{infrastructure}, " if infrastructure else ""
            return f"runner of epoch {event.epoch} begins ({where}Python {event.python})"
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
