"""Runs as they pass in a log: what is known of each by the types of its own events, in a few words of memory. Folds no tasks."""

from __future__ import annotations

from typing import Final

import msgspec

from playhead.core import events as ev
from playhead.core.lifecycle import RUN_TRANSITIONS
from playhead.core.names import NAMESPACE, Micros, StreamName, Version
from playhead.core.state import RunStatus
from playhead.ports.store import Recorded

RUN_STREAMS: Final = f"{NAMESPACE}/run/"
FORGOTTEN: Final = "forgotten"  # no state of a run, but what is said of one whose events were removed


class Passed(msgspec.Struct, gc=False):
    """One run, as far as it passed."""

    flow: str
    status: RunStatus
    first: Version  # of its first event that is there
    version: Version  # of its newest
    moved_at: Micros  # when its state changed last: its end, once it has ended
    forgotten: bool = False  # its newest event is its tombstone


class Runs:
    """Give it every event in order; what does not belong to a run it leaves."""

    def __init__(self) -> None:
        self.by_stream: dict[StreamName, Passed] = {}

    def add(self, event: Recorded) -> None:
        if not event.stream.startswith(RUN_STREAMS):
            return
        run = self.by_stream.get(event.stream)
        if run is None:
            flow = str(event.data.get("flow", ""))
            run = self.by_stream[event.stream] = Passed(
                flow, RunStatus.SCHEDULED, event.version, event.version, event.recorded_at
            )
        run.version = event.version
        if event.type == ev.RunForgotten.TYPE:
            run.status, run.moved_at = RunStatus(event.data["state"]), Micros(event.data["ended_at"])
            run.forgotten = True
            return
        kind = ev.EVENT_TYPES.get(event.type)
        after = RUN_TRANSITIONS.get((run.status, kind)) if kind is not None else None
        if after is not None and after is not run.status:
            run.status, run.moved_at = after, event.recorded_at

    def by_state(self) -> dict[str, int]:
        """How many runs are in each state, and how many are forgotten; what there is none of is left out."""
        counts = dict.fromkeys((*(status.value for status in RunStatus), FORGOTTEN), 0)
        for run in self.by_stream.values():
            counts[FORGOTTEN if run.forgotten else run.status.value] += 1
        return {state: count for state, count in counts.items() if count}
