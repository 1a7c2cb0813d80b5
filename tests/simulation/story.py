"""The story of one run, and what must hold in it after every step, whatever the weather. Each failure names the promise it breaks.

It is told by the log's records, by what the disk would keep, by the ledger of side effects, and by the moments in which a record counts
for its runner or an outcome reaches a flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.decide import MAX_LOSSES
from playhead.core.folding import evolve
from playhead.core.names import Epoch, RunId, Seq
from playhead.core.replay import event_of, stamp_of
from playhead.core.state import RunState, RunStatus
from playhead.errors import PlayheadError
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.reader import Journal, load_payload, read_journal, record_at
from playhead.ports.store import Recorded
from playhead.runner.recall import DELIVERED
from playhead.trust.keys import DerivedKey
from tests.simulation import promises as ck
from tests.simulation.disk import Disk
from tests.simulation.fibers import Fiber, Process

COMPLETED: Final = (ev.TaskSucceeded.TYPE, ev.TaskFailed.TYPE)
ENDED: Final = (*COMPLETED, ev.TaskRetrying.TYPE)
WITH_PAYLOAD: Final = (*ENDED, ev.FactRecorded.TYPE, ev.RunSucceeded.TYPE, ev.RunFailed.TYPE)
OUTCOMES: Final = (ev.RunSucceeded.TYPE, ev.RunFailed.TYPE, ev.RunCancelled.TYPE, ev.RunCrashed.TYPE)


@dataclass
class Story:
    """`fail` is told of each violation."""

    run: RunId
    key: DerivedKey
    disk: Disk
    fail: Callable[[str, str], None]
    state: RunState | None = None
    log: list[Recorded] = field(default_factory=list[Recorded])
    ended: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])  # (task, attempt) with an end in the log
    places: dict[int, JournalPlace] = field(default_factory=dict[int, JournalPlace])
    journals: dict[int, Journal] = field(default_factory=dict[int, Journal])  # as durable as they were at the last look
    counted: dict[int, int] = field(default_factory=dict[int, int])  # epoch → records of its own that counted
    cuts: dict[int, dict[int, int]] = field(default_factory=dict[int, dict[int, int]])  # adopter → epoch → records
    completed: dict[str, int] = field(default_factory=dict[str, int])  # key → first epoch in which its end counted
    delivered: dict[Process, set[str]] = field(default_factory=dict[Process, set[str]])
    saw: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def status(self) -> RunStatus | None:
        return self.state.status if self.state is not None else None

    @property
    def over(self) -> bool:
        return self.state is not None and self.state.status.terminal

    @property
    def has_late(self) -> bool:
        """Whether an outcome came after the server had ended the run, and was kept aside."""
        return self.state is not None and self.over and ev.RunLate.TYPE in self.state.head.story

    def on_event(self, recorded: Recorded) -> None:
        before = self.state
        try:
            self.state = evolve(before, event_of(recorded), stamp_of(recorded))
        except PlayheadError as error:
            self.fail(ck.LINEAR, f"{_name(recorded)} does not fold: {error.message}")
            return
        self.log.append(recorded)
        changes = before is not None and self.state.status is not before.status
        if before is not None and before.status.terminal and (changes or recorded.type != ev.RunLate.TYPE):
            self.fail(ck.FINAL, f"{_name(recorded)} came after the run was {before.status}")
        self._check_counts(recorded)
        event = event_of(recorded)
        if isinstance(event, ev.RunClaimed):
            self.places[event.epoch] = JournalPlace(self.run, Epoch(event.epoch), event.grant)
        kind, _, number = recorded.actor.partition("/")
        if kind == "runner" and int(number) != self.state.head.epoch:
            self.fail(
                ck.ONE_RUNNER, f"{_name(recorded)} by {recorded.actor} came while epoch {self.state.head.epoch} runs"
            )
        if recorded.epoch is not None and recorded.seq is not None:
            self._check_cuts(f"{_name(recorded)} in the log", recorded.epoch, recorded.seq)
            self._check_readable(recorded, recorded.epoch, recorded.seq)

    def _check_counts(self, recorded: Recorded) -> None:
        assert self.state is not None
        if self.state.head.losses > MAX_LOSSES:
            self.fail(ck.BOUNDED, f"{_name(recorded)} is loss {self.state.head.losses} of {MAX_LOSSES}")
        if recorded.type in ENDED:
            end = recorded.data["key"], int(recorded.data.get("attempt", 1))
            if end in self.ended:
                self.fail(ck.RECORDED_ONCE, f"{_name(recorded)}: attempt {end[1]} has ended before")
            self.ended.add(end)

    def _check_readable(self, recorded: Recorded, epoch: Epoch, seq: Seq) -> None:
        try:
            record = record_at(self._journal(epoch, seq), seq)
            if (record.type, dict(record.data)) != (recorded.type, dict(recorded.data)):
                self.fail(ck.RESULT_FIRST, f"{_name(recorded)} is {record.type} in the journal of epoch {epoch}")
            if recorded.type in WITH_PAYLOAD:
                load_payload(self.disk.durable, record, where=recorded.type)
        except PlayheadError as error:
            self.fail(
                ck.RESULT_FIRST, f"{_name(recorded)}, record {seq} of epoch {epoch}, cannot be read: {error.message}"
            )

    def _journal(self, epoch: int, seq: Seq) -> Journal:
        known = self.journals.get(epoch)
        if known is None or len(known.records) <= seq:
            known = self.journals[epoch] = read_journal(self.disk.durable, self.places[epoch], self.key.secret)
        return known

    # --- the runners --------------------------------------------------------------------------------------------------------------

    def on_counted(self, process: Process, epoch: int, seq: int, record: Record) -> None:
        """A record counts for this runner, so that it is used and reported; one that it adopted is looked at in the log."""
        if epoch != process.epoch:
            return
        self._check_cuts(f"{record.type}, which counts for {process.name}", epoch, seq)
        self.counted[epoch] = seq + 1
        if record.type == ev.JournalAdopted.TYPE:
            self._on_adopted(epoch, ev.JournalAdopted.model_validate(record.data))
        if record.type in COMPLETED:
            self.completed.setdefault(record.data["key"], epoch)

    def _check_cuts(self, what: str, epoch: int, seq: int) -> None:
        """Nothing of an epoch is used beyond what its first successor adopted of it."""
        for adopter, cuts in self.cuts.items():
            if epoch < adopter and seq >= cuts.get(epoch, 0):
                adopted = cuts.get(epoch, 0)
                self.fail(
                    ck.ONE_RUNNER,
                    f"record {seq} of epoch {epoch} ({what}) is beyond the {adopted} that epoch {adopter} adopted",
                )

    def _on_adopted(self, epoch: int, adopted: ev.JournalAdopted) -> None:
        cuts = {cut.epoch: cut.records for cut in adopted.cuts}
        for earlier, count in self.counted.items():
            if earlier < epoch and cuts.get(earlier, 0) < count:
                self.fail(
                    ck.ONE_RUNNER,
                    f"epoch {epoch} adopts {cuts.get(earlier, 0)} records of epoch {earlier}, of which {count} had counted",
                )
        for adopter, others in self.cuts.items():
            for earlier, count in others.items():
                if earlier < epoch and cuts.get(earlier, 0) != count:
                    self.fail(
                        ck.ONE_RUNNER,
                        f"epoch {epoch} adopts {cuts.get(earlier, 0)} records of epoch {earlier}, epoch {adopter} adopted {count}",
                    )
        self.cuts[epoch] = cuts

    def on_execution(self, fiber: Fiber, key: str, attempt: int) -> None:
        process = fiber.process
        process.check_alive()
        fiber.schedule.pause(f"runs {key} attempt {attempt}")
        since = self.completed.get(key)
        if since is not None and since <= process.epoch:
            self.fail(ck.ONCE, f"{process.name} runs {key} again: epoch {since} had recorded its end")

    def on_launch(self, process: Process) -> None:
        """A call is handed to the executor."""
        missing = self._recorded_before(process.epoch) - self.delivered.get(process, set())
        if missing:
            self.fail(
                ck.CAUGHT_UP, f"{process.name} launches a call before the flow was given {', '.join(sorted(missing))}"
            )

    def _recorded_before(self, epoch: int) -> set[str]:
        """Keys of the outcomes that this epoch adopted."""
        return {
            record.data["key"]
            for earlier, count in self.cuts.get(epoch, {}).items()
            if count
            for record in self._journal(earlier, Seq(count - 1)).records[:count]
            if record.type in DELIVERED
        }

    def on_seen(self, fiber: Fiber, what: str, value: Any) -> None:
        fiber.schedule.pause(f"sees {what}")
        before = self.saw.setdefault(what, value)
        if before != value:
            self.fail(ck.SAME_WORLD, f"{fiber.process.name} sees {what} as {value}, and it was {before}")

    # --- the end ------------------------------------------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """All is quiet: what the log tells is whole, and can still be read."""
        assert self.state is not None
        for recorded in self.log:
            if recorded.epoch is not None and recorded.seq is not None:
                self._check_readable(recorded, recorded.epoch, recorded.seq)
        for adopter, cuts in self.cuts.items():
            for epoch, count in cuts.items():
                if self.state.reported[epoch - 1] > count:
                    self.fail(
                        ck.ONE_RUNNER,
                        f"the log holds more of epoch {epoch} than the {count} that epoch {adopter} adopted",
                    )
        ended_by = next((each for each in self.log if each.type in OUTCOMES and each.actor.startswith("runner/")), None)
        if ended_by is not None:
            for epoch, count in self.cuts.get(int(ended_by.actor.partition("/")[2]), {}).items():
                if self.state.reported[epoch - 1] != count:
                    self.fail(
                        ck.LINEAR,
                        f"{count} records of epoch {epoch} were adopted, {self.state.reported[epoch - 1]} are in the log",
                    )


def _name(recorded: Recorded) -> str:
    return f"{recorded.type} {recorded.data.get('key', '')} (version {recorded.version})".replace("  ", " ")
