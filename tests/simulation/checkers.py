"""The checkers: what must hold after every step, whatever the weather. Each failure names the promise it breaks.

They look from outside: at the log's records, at what the disk would keep, at the ledger of side effects, and at the moments in which
a record counts for its runner or an outcome reaches a flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from playhead.core import events as ev
from playhead.core.folding import evolve
from playhead.core.names import Epoch, RunId, Seq, StreamName, Version, run_stream
from playhead.core.replay import event_of, stamp_of
from playhead.core.state import RunState, RunStatus
from playhead.errors import PlayheadError
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.reader import Journal, load_payload, read_journal, record_at
from playhead.ports.server import Reported, ReportRequest
from playhead.ports.store import Recorded
from playhead.runner.pump import Delivery, Inbox
from playhead.runner.recall import DELIVERED
from playhead.runner.reporter import Reporter
from playhead.trust.keys import DerivedKey
from tests.simulation.disk import Disk
from tests.simulation.fibers import Fiber, Process, current_fiber

LINEAR: Final = "S1 linear history"
ONE_RUNNER: Final = "S4 one effective runner"
ONCE: Final = "S5 what completed is not run again"
CAUGHT_UP: Final = "S5 catch up, then launch"
SAME_WORLD: Final = "S5 a resumed flow sees the same"
FINAL: Final = "S7 terminal is final"
RESULT_FIRST: Final = "S12 result before event"
NO_ERROR: Final = "a runner ends by an outcome, or because its time is over"
PROGRESS: Final = "the run comes to its end"

COMPLETED: Final = (ev.TaskSucceeded.TYPE, ev.TaskFailed.TYPE)
WITH_PAYLOAD: Final = (
    *COMPLETED, ev.TaskRetrying.TYPE, ev.FactRecorded.TYPE, ev.RunSucceeded.TYPE, ev.RunFailed.TYPE,
)  # fmt: skip


@dataclass(frozen=True)
class Violation:
    checker: str
    told: str


@dataclass
class Checkers:
    """`first` is the first violation, if there was one: the world ends with it."""

    run: RunId
    key: DerivedKey
    disk: Disk
    first: Violation | None = None
    state: RunState | None = None
    events: int = 0  # of all streams
    versions: dict[StreamName, Version] = field(default_factory=dict[StreamName, Version])
    log: list[Recorded] = field(default_factory=list[Recorded])  # the run's
    places: dict[int, JournalPlace] = field(default_factory=dict[int, JournalPlace])
    journals: dict[int, Journal] = field(default_factory=dict[int, Journal])  # as durable as they were at the last look
    counted: dict[int, int] = field(default_factory=dict[int, int])  # epoch → records of its own that counted
    cuts: dict[int, dict[int, int]] = field(default_factory=dict[int, dict[int, int]])  # adopter → epoch → records
    completed: dict[str, int] = field(default_factory=dict[str, int])  # key → first epoch in which its end counted
    delivered: dict[Process, set[str]] = field(default_factory=dict[Process, set[str]])
    saw: dict[str, Any] = field(default_factory=dict[str, Any])

    def fail(self, checker: str, told: str) -> None:
        if self.first is None:
            self.first = Violation(checker, told)

    def observe(self, patch: pytest.MonkeyPatch) -> None:
        """Listen to the moments in which a record counts, and an outcome is given to a flow."""
        note, hand_over, taken = Reporter.note, Inbox._hand_over, Inbox.taken  # pyright: ignore[reportPrivateUsage]  # the one place where each delivery passes

        def noted(reporter: Reporter, epoch: Epoch, first: Seq, records: Sequence[Record]) -> None:
            for seq, record in enumerate(records, first):
                self.on_counted(_process(), epoch, seq, record)
            note(reporter, epoch, first, records)

        def handed_over(inbox: Inbox, delivery: Delivery) -> None:
            self.delivered.setdefault(_process(), set()).add(delivery.key)
            hand_over(inbox, delivery)

        def was_taken(inbox: Inbox, key: Any) -> None:
            self.delivered.setdefault(_process(), set()).add(key)
            taken(inbox, key)

        patch.setattr(Reporter, "note", noted)
        patch.setattr(Inbox, "_hand_over", handed_over)
        patch.setattr(Inbox, "taken", was_taken)

    # --- the log ------------------------------------------------------------------------------------------------------------------

    def on_commit(self, news: Sequence[Recorded]) -> None:
        for recorded in news:
            self.events += 1
            expected = self.versions.get(recorded.stream, 0) + 1
            if recorded.version != expected or recorded.position != self.events:
                self.fail(LINEAR, f"{_name(recorded)} came where version {expected}, position {self.events} is next")
            self.versions[recorded.stream] = recorded.version
            if recorded.stream == run_stream(self.run):
                self._on_run_event(recorded)

    def _on_run_event(self, recorded: Recorded) -> None:
        before = self.state
        try:
            self.state = evolve(before, event_of(recorded), stamp_of(recorded))
        except PlayheadError as error:
            self.fail(LINEAR, f"{_name(recorded)} does not fold: {error.message}")
            return
        self.log.append(recorded)
        changes = before is not None and self.state.status is not before.status
        if before is not None and before.status.terminal and (changes or recorded.type != ev.RunLate.TYPE):
            self.fail(FINAL, f"{_name(recorded)} came after the run was {before.status}")
        event = event_of(recorded)
        if isinstance(event, ev.RunClaimed):
            self.places[event.epoch] = JournalPlace(self.run, Epoch(event.epoch), event.grant)
        kind, _, number = recorded.actor.partition("/")
        if kind == "runner" and int(number) != self.state.head.epoch:
            self.fail(
                ONE_RUNNER, f"{_name(recorded)} by {recorded.actor} came while epoch {self.state.head.epoch} runs"
            )
        if recorded.epoch is not None and recorded.seq is not None:
            self._check_cuts(f"{_name(recorded)} in the log", recorded.epoch, recorded.seq)
            self._check_readable(recorded, recorded.epoch, recorded.seq)

    def _check_readable(self, recorded: Recorded, epoch: Epoch, seq: Seq) -> None:
        try:
            record = record_at(self._journal(epoch, seq), seq)
            if (record.type, dict(record.data)) != (recorded.type, dict(recorded.data)):
                self.fail(RESULT_FIRST, f"{_name(recorded)} is {record.type} in the journal of epoch {epoch}")
            if recorded.type in WITH_PAYLOAD:
                load_payload(self.disk.durable, record, where=recorded.type)
        except PlayheadError as error:
            self.fail(
                RESULT_FIRST, f"{_name(recorded)}, record {seq} of epoch {epoch}, cannot be read: {error.message}"
            )

    def _journal(self, epoch: int, seq: Seq) -> Journal:
        known = self.journals.get(epoch)
        if known is None or len(known.records) <= seq:
            known = self.journals[epoch] = read_journal(self.disk.durable, self.places[epoch], self.key.secret)
        return known

    def on_answer(self, what: str, request: Any, answer: Any) -> None:
        """What the server acknowledges is in its log."""
        if not isinstance(request, ReportRequest):
            return
        assert isinstance(answer, Reported)
        there = {
            recorded.seq: (recorded.type, dict(recorded.data))
            for recorded in self.log
            if recorded.epoch == request.origin
        }
        for seq, (type_name, _, data) in enumerate(request.events, request.first_seq):
            if there.get(Seq(seq)) != (type_name, data) and not self._is_late():
                told = f"{type_name}, record {seq} of epoch {request.origin}, was acknowledged and is not in the log"
                self.fail(LINEAR, told)

    def _is_late(self) -> bool:
        assert self.state is not None
        return ev.RunLate.TYPE in self.state.head.story and self.state.status.terminal

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
                    ONE_RUNNER,
                    f"record {seq} of epoch {epoch} ({what}) is beyond the {adopted} that epoch {adopter} adopted",
                )

    def _on_adopted(self, epoch: int, adopted: ev.JournalAdopted) -> None:
        cuts = {cut.epoch: cut.records for cut in adopted.cuts}
        for earlier, count in self.counted.items():
            if earlier < epoch and cuts.get(earlier, 0) < count:
                self.fail(
                    ONE_RUNNER,
                    f"epoch {epoch} adopts {cuts.get(earlier, 0)} records of epoch {earlier}, of which {count} had counted",
                )
        for adopter, others in self.cuts.items():
            for earlier, count in others.items():
                if earlier < epoch and cuts.get(earlier, 0) != count:
                    self.fail(
                        ONE_RUNNER,
                        f"epoch {epoch} adopts {cuts.get(earlier, 0)} records of epoch {earlier}, epoch {adopter} adopted {count}",
                    )
        self.cuts[epoch] = cuts

    def on_execution(self, fiber: Fiber, key: str, attempt: int) -> None:
        process = fiber.process
        process.check_alive()
        fiber.schedule.pause(f"runs {key} attempt {attempt}")
        since = self.completed.get(key)
        if since is not None and since <= process.epoch:
            self.fail(ONCE, f"{process.name} runs {key} again: epoch {since} had recorded its end")

    def on_launch(self, process: Process) -> None:
        """A call is handed to the executor."""
        missing = self._recorded_before(process.epoch) - self.delivered.get(process, set())
        if missing:
            self.fail(
                CAUGHT_UP, f"{process.name} launches a call before the flow was given {', '.join(sorted(missing))}"
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
            self.fail(SAME_WORLD, f"{fiber.process.name} sees {what} as {value}, and it was {before}")

    # --- the ends -----------------------------------------------------------------------------------------------------------------

    def on_told(self, process: Process, status: RunStatus) -> None:
        """The runner told its caller how the run ended."""
        if self.state is None or self.state.status is not status:
            is_now = self.state.status if self.state is not None else "unknown"
            self.fail(FINAL, f"{process.name} says that the run {status}, and in the log it is {is_now}")

    def on_over(self, process: Process, error: PlayheadError) -> None:
        """The runner ended because its time was over."""
        state = self.state
        assert state is not None
        if state.head.epoch == process.epoch and state.status.leased:
            self.fail(NO_ERROR, f"{process.name} ended by itself, and the run is its own: {error!r}")

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
                        ONE_RUNNER, f"the log holds more of epoch {epoch} than the {count} that epoch {adopter} adopted"
                    )
        ended_by = next(
            (each for each in self.log if each.type in _OUTCOMES and each.actor.startswith("runner/")), None
        )
        if ended_by is not None:
            for epoch, count in self.cuts.get(int(ended_by.actor.partition("/")[2]), {}).items():
                if self.state.reported[epoch - 1] != count:
                    self.fail(
                        LINEAR,
                        f"{count} records of epoch {epoch} were adopted, {self.state.reported[epoch - 1]} are in the log",
                    )

    def outcome(self) -> Iterator[Recorded]:
        return (recorded for recorded in self.log if recorded.type in _OUTCOMES)


_OUTCOMES: Final = (ev.RunSucceeded.TYPE, ev.RunFailed.TYPE, ev.RunCancelled.TYPE, ev.RunCrashed.TYPE)


def _name(recorded: Recorded) -> str:
    return f"{recorded.type} {recorded.data.get('key', '')} (version {recorded.version})".replace("  ", " ")


def _process() -> Process:
    fiber = current_fiber()
    assert fiber is not None
    return fiber.process
