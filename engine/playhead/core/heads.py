"""What an event of the run itself makes of the run's head. Pure; knows no tasks, and not whether the event is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from playhead.core import events as ev
from playhead.core.lifecycle import Stamp
from playhead.core.names import Epoch, Micros, RunId, TaskKey
from playhead.core.state import RunHead, RunStatus, reference
from playhead.errors import IllegalEvent


def created(event: ev.RunScheduled, stamp: Stamp) -> RunHead:
    return RunHead(
        run=RunId(event.run),
        flow=event.flow,
        seal=event.seal,
        origin=event.origin,
        schedule_id=event.schedule_id,
        scheduled_for=Micros(event.scheduled_for),
        executor=event.executor,
        run_config=event.run_config,
        labels=event.labels,
        storage=event.storage,
        key_id=event.key_id,
        python=event.python,
        preset_id=event.preset_id,
        nonce=event.nonce,
        status=RunStatus.SCHEDULED,
        created_at=stamp.recorded_at,
        story=(event.TYPE,),
    )


def forgotten(event: ev.RunForgotten, stamp: Stamp) -> RunHead:
    """What is left of a run, whether or not more of it was known before."""
    return RunHead(
        run=RunId(event.run),
        flow=event.flow,
        seal=event.seal,
        origin=event.origin,
        schedule_id=event.schedule_id,
        scheduled_for=Micros(event.scheduled_for),
        executor=event.executor,
        run_config=event.run_config,
        labels=event.labels,
        storage=event.storage,
        key_id=event.key_id,
        python=event.python,
        preset_id=event.preset_id,
        nonce=event.nonce,
        status=RunStatus(event.state),
        created_at=Micros(event.created_at),
        story=(event.TYPE,),
        epoch=Epoch(event.epoch),
        losses=event.losses,
        started_at=Micros(event.started_at) if event.started_at is not None else None,
        ended_at=Micros(event.ended_at),
        forgotten_at=stamp.recorded_at,
        failed_task=TaskKey(event.task) if event.task is not None else None,
        category=event.category,
        crash=event.crash,
    )


def changed(head: RunHead, status: RunStatus, kind: type[ev.Event], event: Any, stamp: Stamp) -> RunHead:
    """The head after the event, of type `kind`, which brings the run into `status`."""
    change = _CHANGES.get(kind)
    if change is not None:
        head = change(head, event, stamp)
    ended_at = head.ended_at
    if status.terminal and not head.status.terminal:
        ended_at = Micros(event.at if issubclass(kind, ev.RunOutcome) else stamp.recorded_at)
    return replace(head, status=status, story=(*head.story, event.TYPE), ended_at=ended_at)


def told(head: RunHead, type_name: str) -> RunHead:
    """The head after an event that is a part of the run's story and changes nothing else."""
    return replace(head, story=(*head.story, type_name))


def _claimed(head: RunHead, event: ev.RunClaimed, stamp: Stamp) -> RunHead:
    if event.epoch != head.epoch + 1:
        raise IllegalEvent(
            f"run {head.run} is at epoch {head.epoch}, so epoch {event.epoch} cannot be next",
            story=(*head.story, event.TYPE),
        )
    return replace(
        head, epoch=Epoch(event.epoch), claim=event.claim, grant=event.grant, agent=event.agent, runner=event.runner
    )


def _started(head: RunHead, event: ev.RunStarted, stamp: Stamp) -> RunHead:
    return replace(head, started_at=head.started_at if head.started_at is not None else stamp.recorded_at)


def _released(head: RunHead, event: ev.RunReleased, stamp: Stamp) -> RunHead:
    drained = event.reason is ev.ReleaseReason.DRAINING
    return replace(head, releases=head.releases + (not drained))


def _lost(head: RunHead, event: ev.RunLost, stamp: Stamp) -> RunHead:
    counts = event.reason is not ev.LossReason.DRAINED
    return replace(head, losses=head.losses + counts, last_loss=event.reason)


def _succeeded(head: RunHead, event: ev.RunSucceeded, stamp: Stamp) -> RunHead:
    return replace(head, outcome=reference(stamp.epoch, stamp.seq), size=event.size)


def _failed(head: RunHead, event: ev.RunFailed, stamp: Stamp) -> RunHead:
    task = TaskKey(event.task) if event.task is not None else None
    return replace(head, outcome=reference(stamp.epoch, stamp.seq), failed_task=task, category=event.category)


def _crashed(head: RunHead, event: ev.RunCrashed, stamp: Stamp) -> RunHead:
    return replace(head, crash=event.reason)


# Typed by the models; a lean event, with the same fields, comes this way too.
_CHANGES: Final[dict[type[ev.Event], Callable[[RunHead, Any, Stamp], RunHead]]] = {
    ev.RunClaimed: _claimed,
    ev.RunStarted: _started,
    ev.RunReleased: _released,
    ev.RunLost: _lost,
    ev.RunSucceeded: _succeeded,
    ev.RunFailed: _failed,
    ev.RunCrashed: _crashed,
}
