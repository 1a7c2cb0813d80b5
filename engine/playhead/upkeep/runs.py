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


class Passed(msgspec.Struct, gc=False):
    """One run, as far as it passed."""

    flow: str
    status: RunStatus
    version: Version
    moved_at: Micros  # when its state changed last: its end, once it has ended


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
            run = self.by_stream[event.stream] = Passed(flow, RunStatus.SCHEDULED, event.version, event.recorded_at)
        run.version = event.version
        kind = ev.EVENT_TYPES.get(event.type)
        after = RUN_TRANSITIONS.get((run.status, kind)) if kind is not None else None
        if after is not None and after is not run.status:
            run.status, run.moved_at = after, event.recorded_at

    def by_state(self) -> dict[str, int]:
        """How many runs are in each state, in the states' order; those that nobody is in are left out."""
        counts = dict.fromkeys(RunStatus, 0)
        for run in self.by_stream.values():
            counts[run.status] += 1
        return {status.value: count for status, count in counts.items() if count}
