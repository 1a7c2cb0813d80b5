"""What earlier epochs of a run left behind: fencing, the cut, and an index of what is recorded. Owns adoption (DURABILITY section 2).

A successor fences every earlier journal, then reads them; what lies beyond the cut never counts. From the records that count it
knows, for each place in the flow, what was asked there, how often it was tried, and how it ended.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.names import FLOW_KEY, Epoch, RunId, Seq, TaskKey
from playhead.core.replay import event_of
from playhead.errors import AlreadyExists, JournalCorrupt, StorageLost
from playhead.failpoints import reach
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.reader import Journal, read_journal
from playhead.ports.storage import Storage
from playhead.ports.store import Recorded

DELIVERED: Final = frozenset(
    {ev.TaskSucceeded.TYPE, ev.TaskFailed.TYPE, ev.TaskCancelled.TYPE, ev.FactRecorded.TYPE, ev.TimerFired.TYPE}
)


@dataclass(slots=True)
class Place:
    """What earlier epochs recorded of one place in the flow."""

    asked: Record | None = None  # task.submitted, task.mapped or timer.set
    attempts: int = 0  # failed attempts that were followed by a retry
    losses: int = 0
    retry_at: int | None = None
    outcome: Record | None = None
    epoch: Epoch | None = None  # of the journal that holds the outcome
    seq: Seq | None = None


@dataclass(slots=True)
class Recall:
    """Everything that earlier epochs left. Empty for a first epoch."""

    cuts: tuple[ev.Cut, ...] = ()
    adopted: Mapping[Epoch, Sequence[Record]] = field(
        default_factory=dict[Epoch, Sequence[Record]]
    )  # records that count, by epoch
    places: dict[TaskKey, Place] = field(default_factory=dict[TaskKey, Place])
    order: deque[TaskKey] = field(
        default_factory=deque[TaskKey]
    )  # keys of outcomes, in the order in which they are delivered

    @property
    def ended(self) -> Place | None:
        """The flow's own outcome, if an earlier epoch recorded it."""
        place = self.places.get(FLOW_KEY)
        return place if place is not None and place.outcome is not None else None


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An epoch that was given to a runner, whether the log knows that it started, and how much of its journal is in the log.

    One of which the log does not know that it started has a journal only where the log was put back from an older copy.
    """

    place: JournalPlace
    reported: int
    outcomes: Mapping[Seq, str]  # outcomes that the log knows: record number → type
    started: bool = True


def predecessors(run: RunId, history: Iterable[Recorded], before: Epoch) -> list[Predecessor]:
    """The epochs below `before`, oldest first, from the run's events."""
    grants: dict[Epoch, str] = {}
    started: set[int] = set()
    outcomes: dict[int, dict[Seq, str]] = {}
    reported: dict[int, int] = {}
    for recorded in history:
        event = event_of(recorded)
        match event:
            case ev.RunClaimed() if event.epoch < before:
                grants[Epoch(event.epoch)] = event.grant
            case ev.RunStarted():
                started.add(event.epoch)
            case ev.RunnerEvent() if recorded.epoch is not None and recorded.seq is not None:
                reported[recorded.epoch] = recorded.seq + 1
                if recorded.type in DELIVERED:
                    outcomes.setdefault(recorded.epoch, {})[recorded.seq] = recorded.type
            case _:
                pass
    return [
        Predecessor(JournalPlace(run, epoch, grant), reported.get(epoch, 0), outcomes.get(epoch, {}), epoch in started)
        for epoch, grant in grants.items()
    ]


def fence_all(storage: Storage, earlier: Iterable[Predecessor], by: Epoch) -> None:
    """Create the fence in every earlier journal. From here on what their owners write does not count."""
    for predecessor in earlier:
        try:
            storage.create_if_absent(predecessor.place.fence, b"%d\n" % by)
        except AlreadyExists:
            continue
        reach("runner.fenced")


def recall(storage: Storage, earlier: Sequence[Predecessor], key: bytes) -> Recall:
    """Read the fenced journals, settle the cut, and index what counts. Raises StorageLost where the log knows more than they hold."""
    if not earlier:
        return Recall()
    journals = [read_journal(storage, predecessor.place, key) for predecessor in earlier]
    _settle(storage, earlier)
    cuts = _cuts(journals)
    found = Recall(cuts=tuple(cuts))
    adopted: dict[Epoch, Sequence[Record]] = {}
    for predecessor, journal, cut in zip(earlier, journals, cuts, strict=True):
        records = journal.records[: cut.records]
        _check_against_log(predecessor, records)
        adopted[predecessor.place.epoch] = records
        for seq, record in enumerate(records):
            _index(found, record, predecessor.place.epoch, Seq(seq))
    found.adopted = adopted
    reach("runner.recalled")
    return found


def _settle(storage: Storage, earlier: Iterable[Predecessor]) -> None:
    """Make durable what was read: a runner may have died between writing a batch and flushing it, and from here on it counts."""
    for predecessor in earlier:
        for path in storage.list(predecessor.place.segments):
            storage.settle(path)


def _cuts(journals: Sequence[Journal]) -> list[ev.Cut]:
    """How much of each journal counts: as the newest of them that adopted has settled, and all of those it could not know."""
    settled: dict[int, ev.Cut] = {}
    for journal in reversed(journals):
        if journal.records:
            first = journal.records[0]
            if first.type != ev.JournalAdopted.TYPE:
                raise JournalCorrupt(f"the journal {journal.place.folder} does not begin with what it adopted")
            adopted = ev.JournalAdopted.model_validate(first.data)
            settled = {cut.epoch: cut for cut in adopted.cuts}
            settled_by = journal.place.epoch
            break
    else:
        settled_by = Epoch(0)
    cuts: list[ev.Cut] = []
    for journal in journals:
        epoch = journal.place.epoch
        if epoch < settled_by:
            cut = settled.get(epoch, ev.Cut(epoch=epoch, batches=0, records=0))
            _check_cut(journal, cut)
            cuts.append(cut)
        else:
            cuts.append(_whole(journal))
    return cuts


def _whole(journal: Journal) -> ev.Cut:
    if not journal.macs:
        return ev.Cut(epoch=journal.place.epoch, batches=0, records=0)
    return ev.Cut(
        epoch=journal.place.epoch,
        batches=len(journal.macs),
        records=len(journal.records),
        mac=short_mac(journal.macs[-1]),
    )


def _check_cut(journal: Journal, cut: ev.Cut) -> None:
    if cut.batches == 0:
        return
    there = cut.batches <= len(journal.macs)
    if not there or journal.ends[cut.batches - 1] != cut.records or short_mac(journal.macs[cut.batches - 1]) != cut.mac:
        raise StorageLost(
            f"the journal {journal.place.folder} does not hold the {cut.records} records that a later runner adopted from it",
            hint="the storage lost or changed an object: restore it from a backup",
        )


def _check_against_log(predecessor: Predecessor, records: Sequence[Record]) -> None:
    """A completion that the log knows and the storage lacks is never quietly run again."""
    for seq, type_name in predecessor.outcomes.items():
        if seq >= len(records) or records[seq].type != type_name:
            raise StorageLost(
                f"the log knows record {seq} ({type_name}) of {predecessor.place.folder}, and the storage does not hold it",
                hint="restore the storage from a backup; the run was stopped so that nothing is done twice",
            )


def _index(found: Recall, record: Record, epoch: Epoch, seq: Seq) -> None:
    if record.type in (ev.RunSucceeded.TYPE, ev.RunFailed.TYPE, ev.RunCancelled.TYPE):
        found.places[FLOW_KEY] = Place(outcome=record, epoch=epoch, seq=seq)
        return
    key = record.data.get("key")
    if key is None:
        return
    place = found.places.setdefault(TaskKey(key), Place())
    match record.type:
        case ev.TaskSubmitted.TYPE | ev.TaskMapped.TYPE | ev.TimerSet.TYPE:
            place.asked = record
        case ev.TaskRetrying.TYPE:
            place.attempts = record.data.get("attempt", 1)
            place.retry_at = record.data["retry_at"]
        case ev.TaskLost.TYPE:
            place.losses += 1
        case kind if kind in DELIVERED:
            place.outcome, place.epoch, place.seq = record, epoch, seq
            found.order.append(TaskKey(key))
        case _:
            pass


def short_mac(mac: bytes) -> str:
    """A batch's MAC as an event may carry it: 16 bytes, base64url."""
    return urlsafe_b64encode(mac[:16]).rstrip(b"=").decode()


def note_of(record: Record | None) -> Mapping[str, Any]:
    """The record's private note, or an empty one."""
    return record.note if record is not None and record.note is not None else {}
