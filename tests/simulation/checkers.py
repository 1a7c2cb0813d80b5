"""The checkers of a world: what holds for the whole log and between its runs. Owns the stories of the runs, and the first violation.

They look from outside: at the log's records, at the answers on the network, at what a server kept when it died.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pytest

from playhead.core import events as ev
from playhead.core.folding import fold
from playhead.core.names import Epoch, RunId, Seq, StreamName, Version, run_stream
from playhead.core.replay import event_of, stamp_of
from playhead.core.state import RunState, RunStatus
from playhead.errors import LogUnusable, PlayheadError, RunnerEnded, ServerUnreachable, StorageUnavailable
from playhead.journal.format import Record
from playhead.ports.server import Beat, HeartbeatRequest, ReportRequest
from playhead.ports.store import Recorded
from playhead.runner.outcome import Outcome
from playhead.runner.pump import Delivery, Inbox
from playhead.runner.reporter import Reporter
from playhead.service import Service
from playhead.trust.keys import MasterKey
from tests.simulation import promises as ck
from tests.simulation.disk import Disk
from tests.simulation.fibers import Fiber, Process, current_fiber
from tests.simulation.network import Answer
from tests.simulation.server import Request
from tests.simulation.story import Story

TAKES_SECONDS: Final = 1.5  # from a sweep's first look to its last word

_RUNS: Final = run_stream("")
_OF_AGENTS: Final = {ev.AgentJoined.TYPE, ev.AgentDraining.TYPE, ev.AgentLeft.TYPE}


@dataclass(frozen=True)
class Violation:
    checker: str
    told: str


@dataclass
class Checkers:
    """`first` is the first violation, if there was one: the world ends with it."""

    key: MasterKey
    disk: Disk
    first: Violation | None = None
    runners: list[Process] = field(default_factory=list[Process])  # as they were launched
    log: list[Recorded] = field(default_factory=list[Recorded])
    stories: dict[str, Story] = field(default_factory=dict[str, Story])
    versions: dict[StreamName, Version] = field(default_factory=dict[StreamName, Version])
    appends: dict[tuple[StreamName, str], Recorded] = field(default_factory=dict[tuple[StreamName, str], Recorded])
    terms: dict[tuple[str, int], list[tuple[float, float]]] = field(
        default_factory=dict[tuple[str, int], list[tuple[float, float]]]
    )  # of a run's epoch: when it was told one, and until when
    lost: dict[tuple[str, int], float] = field(default_factory=dict[tuple[str, int], float])  # when it was taken back
    agents: dict[str, str] = field(default_factory=dict[str, str])  # name → type of its newest event
    fired: dict[str, list[int]] = field(
        default_factory=lambda: defaultdict[str, list[int]](list)
    )  # schedule → due times

    def fail(self, checker: str, told: str) -> None:
        if self.first is None:
            self.first = Violation(checker, told)

    def story(self, run: str) -> Story:
        known = self.stories.get(run)
        if known is None:
            known = self.stories[run] = Story(RunId(run), self.key.run_key(run), self.disk, self.fail)
        return known

    def observe(self, patch: pytest.MonkeyPatch) -> None:
        """Listen to the moments in which a record counts, and an outcome is given to a flow."""
        note, hand_over, taken = Reporter.note, Inbox._hand_over, Inbox.taken  # pyright: ignore[reportPrivateUsage]  # the one place where each delivery passes

        def noted(reporter: Reporter, epoch: Epoch, first: Seq, records: Sequence[Record]) -> None:
            process = _process()
            for seq, record in enumerate(records, first):
                self.story(process.run).on_counted(process, epoch, seq, record)
            note(reporter, epoch, first, records)

        def handed_over(inbox: Inbox, delivery: Delivery) -> None:
            self._delivered(delivery.key)
            hand_over(inbox, delivery)

        def was_taken(inbox: Inbox, key: Any) -> None:
            self._delivered(key)
            taken(inbox, key)

        patch.setattr(Reporter, "note", noted)
        patch.setattr(Inbox, "_hand_over", handed_over)
        patch.setattr(Inbox, "taken", was_taken)

    def _delivered(self, key: str) -> None:
        process = _process()
        self.story(process.run).delivered.setdefault(process, set()).add(key)

    # --- the log ------------------------------------------------------------------------------------------------------------------

    def on_commit(self, news: Sequence[Recorded]) -> None:
        for recorded in news:
            self.log.append(recorded)
            expected = self.versions.get(recorded.stream, 0) + 1
            if recorded.version != expected or recorded.position != len(self.log):
                told = f"{recorded.type} (version {recorded.version}, position {recorded.position})"
                self.fail(ck.LINEAR, f"{told} came where version {expected}, position {len(self.log)} is next")
            self.versions[recorded.stream] = recorded.version
            first = self.appends.setdefault((recorded.stream, recorded.append_id), recorded)
            if recorded.version - first.version != recorded.index - first.index:
                self.fail(ck.IDEMPOTENT, f"append {recorded.append_id} is twice in {recorded.stream}")
            if recorded.type in _OF_AGENTS:
                self.agents[recorded.stream.rpartition("/")[2]] = recorded.type
            if recorded.stream.startswith(_RUNS):
                self._note_schedule(recorded)
                self._check_claim(recorded)
                self._check_death(recorded)
                self._check_term(recorded.stream.removeprefix(_RUNS), recorded)
                self.story(recorded.stream.removeprefix(_RUNS)).on_event(recorded)

    def _note_schedule(self, recorded: Recorded) -> None:
        event = event_of(recorded)
        if isinstance(event, ev.RunScheduled) and event.schedule_id is not None:
            if event.scheduled_for in self.fired[event.schedule_id]:
                self.fail(ck.EACH_TIME, f"there are two runs for {event.scheduled_for}")
            self.fired[event.schedule_id].append(event.scheduled_for)

    def _check_claim(self, recorded: Recorded) -> None:
        """Whoever is granted a run has joined, and is not on its way out."""
        event = event_of(recorded)
        if isinstance(event, ev.RunClaimed):
            newest = self.agents.get(event.agent)
            if newest != ev.AgentJoined.TYPE:
                self.fail(
                    ck.DRAINS,
                    f"run {recorded.stream[-3:]} is granted to {event.agent}, of which the newest is {newest}",
                )

    def _check_death(self, recorded: Recorded) -> None:
        """Whoever says that a runner has died has seen it dead."""
        event = event_of(recorded)
        if isinstance(event, ev.RunLost) and event.reason is not ev.LossReason.LEASE_EXPIRED:
            run = recorded.stream.removeprefix(_RUNS)
            if any(not runner.dead for runner in self.runners if (runner.run, runner.epoch) == (run, event.epoch)):
                self.fail(ck.PROOF, f"epoch {event.epoch} of run {run[-3:]} is reported dead, and lives")

    def on_answer(self, _asker: Process, request: Request, sent_at: float, answer: Answer) -> None:
        """What the server acknowledges is in its log, and what it tells of a term is so."""
        if request.verb == "heartbeat" and answer.status == 200:
            self._note_term(request, sent_at, answer)
        if request.verb != "report" or answer.status != 200:
            return
        assert request.body is not None
        report = ReportRequest.model_validate_json(request.body)
        story = self.story(request.path.split("/")[2])
        there = {
            recorded.seq: (recorded.type, dict(recorded.data))
            for recorded in story.log
            if recorded.epoch == report.origin
        }
        for seq, (type_name, _, data) in enumerate(report.events, report.first_seq):
            if there.get(Seq(seq)) != (type_name, data) and not story.has_late:
                told = f"{type_name}, record {seq} of epoch {report.origin}, was acknowledged and is not in the log"
                self.fail(ck.LINEAR, told)

    def _note_term(self, request: Request, sent_at: float, answer: Answer) -> None:
        assert request.body is not None
        run, epoch = request.path.split("/")[2], HeartbeatRequest.model_validate_json(request.body).epoch
        if sent_at > self.lost.get((run, epoch), math.inf):
            told = f"epoch {epoch} of run {run[-3:]} was taken back, and is told that it holds its lease"
            self.fail(ck.ONE_RUNNER, told)
        ends = sent_at + Beat.model_validate_json(answer.body).lease_seconds
        self.terms.setdefault((run, epoch), []).append((self.disk.schedule.now, ends))

    def _check_term(self, run: str, recorded: Recorded) -> None:
        """A runner that was heard of keeps its run until the end of the term that it was told; but whoever takes it back may not have
        heard what came when it had begun to."""
        event, now = event_of(recorded), self.disk.schedule.now
        if not isinstance(event, ev.RunLost):
            return
        self.lost[run, event.epoch] = now
        terms = self.terms.get((run, event.epoch), [])
        if event.reason is ev.LossReason.LEASE_EXPIRED and any(at + TAKES_SECONDS < now < ends for at, ends in terms):
            self.fail(ck.KEPT, f"epoch {event.epoch} of run {run[-3:]} is taken back within the term that it was told")

    # --- the processes ------------------------------------------------------------------------------------------------------------

    def on_execution(self, fiber: Fiber, key: str, attempt: int) -> None:
        self.story(fiber.process.run).on_execution(fiber, key, attempt)

    def on_seen(self, fiber: Fiber, what: str, value: Any) -> None:
        self.story(fiber.process.run).on_seen(fiber, what, value)

    def on_launch(self, process: Process) -> None:
        self.story(process.run).on_launch(process)

    def on_told(self, process: Process, outcome: Outcome) -> None:
        """The runner told its caller how the run ended."""
        _trace(process, f"told {outcome.status}")
        story = self.story(process.run)
        if story.status is not outcome.status:
            self.fail(
                ck.FINAL, f"{process.name} says that the run {outcome.status}, and in the log it is {story.status}"
            )

    def on_error(self, process: Process, error: PlayheadError) -> None:
        """The runner ended by an error. That its time was over must be true, and anything else the weather's fault."""
        _trace(process, f"ended by {type(error).__name__}: {error.message}")
        story = self.story(process.run)
        if isinstance(error, RunnerEnded):
            state = story.state
            if state is not None and state.head.epoch == process.epoch and state.status.leased:
                self.fail(ck.NO_ERROR, f"{process.name} ended by itself, and the run is its own: {error!r}")
        elif isinstance(error, StorageUnavailable) and self.disk.failed > 0:
            pass
        elif not (isinstance(error, ServerUnreachable | LogUnusable) and process.epoch not in story.counted):
            self.fail(ck.NO_ERROR, f"{process.name}: {error!r}")

    def on_server_end(self, service: Service | None) -> None:
        """What a server has kept of the runs is what folds from the log, as far as it has seen it (S8)."""
        if service is None:
            return
        kept = cast("dict[StreamName, RunState]", service._states._kept)  # pyright: ignore[reportPrivateUsage]  # to look inside is the test
        for stream, state in kept.items():
            events = self.story(stream.removeprefix(_RUNS)).log[: state.version]
            folded = fold([(event_of(recorded), stamp_of(recorded)) for recorded in events])
            if folded is None or _text(folded) != _text(state):
                self.fail(
                    ck.REPLAY,
                    f"of {stream} a server kept something else at version {state.version} than its log folds to",
                )

    def at_the_end(self) -> None:
        """All is quiet: what the log tells is whole, and can still be read."""
        for story in self.stories.values():
            story.at_the_end()

    def ends(self) -> list[RunStatus]:
        return [story.status for story in self.stories.values() if story.status is not None and story.over]


def _text(state: RunState) -> str:
    """All of a state, its persistent maps in order."""
    tasks, maps = sorted(state.tasks.items()), sorted(state.maps.items())
    return repr((state.version, state.head, tasks, maps, state.counts, state.reported, state.asked))


def _trace(process: Process, told: str) -> None:
    fiber = current_fiber()
    assert fiber is not None
    fiber.schedule.trace.append((fiber.schedule.now, process.name, told))


def _process() -> Process:
    fiber = current_fiber()
    assert fiber is not None
    return fiber.process
