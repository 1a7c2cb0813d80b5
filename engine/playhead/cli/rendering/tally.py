"""How far a run is: its state, and for each map and for the single tasks how many are in which state. A fold; draws nothing.

It counts as events come, so that an event costs the same in a run of ten tasks and of a hundred thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from playhead.cli.rendering.elements import map_of
from playhead.core import events as ev
from playhead.core.folding import evolve
from playhead.core.names import TaskKey
from playhead.core.replay import event_of, stamp_of
from playhead.core.state import RunState, RunStatus, TaskStatus
from playhead.core.tasks import task_of
from playhead.ports.store import Recorded


@dataclass(slots=True)
class Row:
    """One bar. `key` is a map's key, or None for all tasks that are in no map."""

    key: str | None
    total: int
    counts: Counter[TaskStatus] = field(default_factory=Counter[TaskStatus])

    @property
    def ended(self) -> int:
        return sum(number for status, number in self.counts.items() if status.terminal)


class Tally:
    def __init__(self) -> None:
        self.state: RunState | None = None
        self._single = Row(None, 0)
        self._maps: dict[str, Row] = {}

    @property
    def status(self) -> RunStatus | None:
        return self.state.status if self.state else None

    @property
    def rows(self) -> list[Row]:
        """The single tasks first, then each map in the order in which the flow asked for them."""
        return [*([self._single] if self._single.total else []), *self._maps.values()]

    def feed(self, recorded: Iterable[Recorded]) -> None:
        """Fold in the run's next events."""
        for item in recorded:
            self._one(item)

    def _one(self, item: Recorded) -> None:
        event = event_of(item)
        before = self.state
        self.state = after = evolve(before, event, stamp_of(item))
        if isinstance(event, ev.TaskMapped):
            row = self._maps[event.key] = Row(event.key, event.width)
            row.counts[TaskStatus.SUBMITTED] = event.width
        elif isinstance(event, ev.TaskEvent):
            key = TaskKey(event.key)
            now = task_of(after, key)
            if now is not None:
                was = task_of(before, key) if before else None
                self._moved(key, was.status if was else None, now.status)

    def _moved(self, key: TaskKey, was: TaskStatus | None, now: TaskStatus) -> None:
        mapped = map_of(key, self._maps)
        row = self._single if mapped is None else self._maps[mapped]
        if was is None:
            row.total += 1
        else:
            row.counts[was] -= 1
        row.counts[now] += 1
