"""The log's storage as a crash leaves it: what was not synced may be gone. Owns the records, and when a commit is durable.

A commit writes, then syncs. A server that dies in between leaves a tail of which nobody knows whether it is there: that is decided when
the log is opened again. A commit may also end without word, having happened or not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from playhead.core.names import LogId
from playhead.errors import OutcomeUnknown
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import Append, Outcome, Recorded
from tests.simulation.fibers import Process, Schedule

LOG_ID: Final = LogId("5151515151515151")


@dataclass
class LogDisk:
    """The records, over all lives of the server. `on_commit` is told of events once they are durable, each once and in order.

    `unknown` is how likely a commit ends without word.
    """

    schedule: Schedule
    rng: random.Random
    on_commit: Callable[[Sequence[Recorded]], None]
    unknown: float = 0.0
    records: MemoryRecords = field(default_factory=lambda: MemoryRecords(log_id=LOG_ID))
    synced: int = 0  # events that are durable

    def open(self, _process: Process, /) -> ForgetfulBackend:
        """After a crash: what was written and not synced is there, or it is not."""
        if len(self.records.events) > self.synced and self.rng.random() < 0.5:
            self._forget()
        self.sync()
        return ForgetfulBackend(self)

    def sync(self) -> None:
        news, self.synced = self.records.events[self.synced :], len(self.records.events)
        self.on_commit(news)

    def _forget(self) -> None:
        records = self.records
        for event in reversed(records.events[self.synced :]):
            assert records.streams[event.stream].pop() is event
            records.appends.pop((event.stream, event.append_id), None)
        del records.events[self.synced :]


class ForgetfulBackend(MemoryBackend):
    """One server's view of the log. Each commit may be its last act, before, between or behind the write and the sync."""

    def __init__(self, disk: LogDisk) -> None:
        super().__init__(disk.records)
        self._disk = disk

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        disk = self._disk
        silent = disk.rng.random() < disk.unknown
        disk.schedule.pause("commit")
        if silent and disk.rng.random() < 0.5:
            raise OutcomeUnknown("the connection to the log broke before the commit", hint="this is simulated")
        outcomes = await super().commit(batch)
        disk.schedule.pause("written to the log")
        told = ", ".join(event.type for event in disk.records.events[disk.synced :])
        disk.sync()
        disk.schedule.pause(f"committed {told}")
        if silent:
            raise OutcomeUnknown("the connection to the log broke after the commit", hint="this is simulated")
        return outcomes
