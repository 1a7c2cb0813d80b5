"""What is left of a run whose events are removed. Pure: a state gives the event; who removes is the upkeep's matter."""

from __future__ import annotations

from playhead.core import events as ev
from playhead.core.state import RunState


def tombstone(state: RunState) -> ev.RunForgotten:
    """The event to be appended to an ended run's stream, behind all that is then removed from it."""
    head = state.head
    assert head.status.terminal, "only what has ended is forgotten"
    return ev.RunForgotten(
        run=head.run,
        flow=head.flow,
        seal=head.seal,
        origin=head.origin,
        schedule_id=head.schedule_id,
        scheduled_for=head.scheduled_for,
        executor=head.executor,
        run_config=head.run_config,
        labels=head.labels,
        storage=head.storage,
        key_id=head.key_id,
        python=head.python,
        preset_id=head.preset_id,
        nonce=head.nonce,
        state=ev.RunEnd(head.status.value),
        category=head.category,
        task=head.failed_task,
        crash=head.crash,
        epoch=head.epoch,
        losses=head.losses,
        created_at=head.created_at,
        started_at=head.started_at,
        ended_at=head.ended_at if head.ended_at is not None else head.created_at,
        events=state.version,
    )
