"""The journal's rules: group commit, fence, torn tails, holes, failed flushes, and whose signature it carries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead.core.names import Epoch, RunId, Seq, TaskKey
from playhead.errors import (
    EpochOver,
    Fenced,
    JournalCorrupt,
    PlayheadError,
    StorageFull,
    StorageLost,
    StorageUnavailable,
    TrustError,
)
from playhead.journal.format import Blob, Record, encode_batch, read_segment
from playhead.journal.place import JournalPlace
from playhead.journal.reader import load_payload, read_journal, record_at
from playhead.journal.room import LOOK_SECONDS, MOST_SECONDS, Room
from playhead.journal.writer import JournalWriter
from playhead.ports.storage import AppendFile, Storage
from playhead.storage.memory import MemoryStorage

RUN = RunId("0123456789abcdef" * 2)
KEY = b"k" * 32
PLACE = JournalPlace(RUN, Epoch(1), "aabbccdd")


def record(number: int, payload: bytes | None = None, then: Callable[[Record], None] | None = None) -> Record:
    return Record("task.started", 1, {"at": number, "key": f"t.{number}"}, None, payload, then)


class Journal:
    """A writer, and what it said."""

    def __init__(self, storage: Storage, place: JournalPlace = PLACE, room: Room | None = None) -> None:
        self.counted: list[int] = []
        self.ended: list[PlayheadError] = []
        self.writer = JournalWriter(storage, place, KEY, on_durable=self._durable, on_end=self.ended.append, room=room)

    def _durable(self, first: Seq, records: Sequence[Record]) -> None:
        self.counted += range(first, first + len(records))


def test_no_two_executions_of_a_call_share_a_blob() -> None:
    """A late worker of an epoch that is over writes beside its successor's result, never over it and never in its way."""
    places = [JournalPlace(RUN, Epoch(epoch), grant) for epoch, grant in ((1, "aabbccdd"), (2, "eeff0011"))]
    executions = [(place, attempt, nonce) for place in places for attempt in (1, 2) for nonce in ("11", "22")]
    names = {place.blob(TaskKey("t"), attempt, nonce) for place, attempt, nonce in executions}
    assert len(names) == len(executions)


def test_records_read_back_in_order_with_their_payloads() -> None:
    storage = MemoryStorage()
    journal = Journal(storage)
    journal.writer.append(record(0))
    journal.writer.commit(record(1, b"value"), record(2))
    journal.writer.commit_and_wait(record(3))
    journal.writer.close()
    read = read_journal(storage, PLACE, KEY)
    assert [r.data["at"] for r in read.records] == [0, 1, 2, 3]
    assert read.records[1].payload == b"value"
    assert journal.counted == [0, 1, 2, 3]
    assert read.ends == (3, 4), "what waited was written in one batch"
    assert record_at(read, Seq(3)).data["at"] == 3
    with pytest.raises(StorageLost):
        record_at(read, Seq(4))


class Wrapped:
    """A storage in memory, of which a test changes how appending goes."""

    def __init__(self) -> None:
        self.inner = MemoryStorage()
        self.id = self.inner.id
        self.url = self.inner.url
        self.create_if_absent = self.inner.create_if_absent
        self.append_loose = self.inner.append_loose
        self.read = self.inner.read
        self.exists = self.inner.exists
        self.list = self.inner.list
        self.settle = self.inner.settle


class SlowStorage(Wrapped):
    """Counts its appends, and holds the first one until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.appends = 0
        self.first_began = threading.Event()
        self.let_go = threading.Event()

    def open_append(self, path: str) -> AppendFile:
        return _SlowFile(self, self.inner.open_append(path))


class _SlowFile:
    def __init__(self, storage: SlowStorage, inner: AppendFile) -> None:
        self._storage = storage
        self._inner = inner

    def append(self, data: bytes) -> None:
        self._storage.appends += 1
        if self._storage.appends == 1:
            self._storage.first_began.set()
            assert self._storage.let_go.wait(10)
        self._inner.append(data)

    def close(self) -> None:
        self._inner.close()


def test_everything_that_waits_behind_a_flush_is_written_by_one() -> None:
    storage = SlowStorage()
    journal = Journal(storage)
    leader = threading.Thread(target=journal.writer.commit, args=(record(0),))
    leader.start()
    assert storage.first_began.wait(10)
    for number in range(1, 101):
        journal.writer.commit(record(number))
    storage.let_go.set()
    leader.join(10)
    assert journal.counted == list(range(101))
    assert storage.appends == 2


@pytest.mark.parametrize("last", ["conclude", "close", "commit_and_wait"])
def test_what_a_leader_leaves_when_its_time_is_over_is_written_by_whoever_waits_for_it(last: str) -> None:
    """A worker writes one batch and goes on with its work; at a run's end nobody else may come by."""
    storage = SlowStorage()
    journal = Journal(storage)
    journal.writer.append(record(0))
    leader = threading.Thread(target=journal.writer.commit_some, args=(1,))
    leader.start()
    assert storage.first_began.wait(10)
    journal.writer.append(record(1))
    ends: dict[str, Callable[[], None]] = {
        "conclude": lambda: journal.writer.conclude(record(2)),
        "commit_and_wait": lambda: journal.writer.commit_and_wait(record(2)),
        "close": journal.writer.close,
    }
    end = threading.Thread(target=ends[last], daemon=True)
    end.start()
    storage.let_go.set()
    leader.join(10)
    end.join(10)
    assert not end.is_alive()
    assert journal.counted == ([0, 1] if last == "close" else [0, 1, 2])


def test_a_fence_ends_the_journal_and_nothing_counts_after_it() -> None:
    storage = MemoryStorage()
    journal = Journal(storage)
    called: list[Record] = []
    journal.writer.commit_and_wait(record(0))
    storage.create_if_absent(PLACE.fence, b"2")
    with pytest.raises(Fenced):
        journal.writer.commit_and_wait(record(1, then=called.append))
    journal.writer.commit(record(2, then=called.append))
    assert journal.counted == [0]
    assert called == []
    assert [type(error) for error in journal.ended] == [Fenced]


def test_two_writers_of_one_journal_cannot_both_go_on() -> None:
    storage = MemoryStorage()
    first, second = Journal(storage), Journal(storage)
    first.writer.commit_and_wait(record(0))
    with pytest.raises(Fenced):
        second.writer.commit_and_wait(record(0))


class FailingStorage(Wrapped):
    """Its first flush fails after half of the bytes were written."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def open_append(self, path: str) -> AppendFile:
        return _FailingFile(self, self.inner.open_append(path))


class _FailingFile:
    def __init__(self, storage: FailingStorage, inner: AppendFile) -> None:
        self._storage = storage
        self._inner = inner

    def append(self, data: bytes) -> None:
        if self._storage.failures:
            self._storage.failures -= 1
            self._inner.append(data[: len(data) // 2])
            raise StorageUnavailable("the flush failed")
        self._inner.append(data)

    def close(self) -> None:
        self._inner.close()


def test_after_a_failed_flush_the_segment_is_abandoned_and_nothing_is_lost() -> None:
    storage = FailingStorage(failures=1)
    journal = Journal(storage)
    journal.writer.commit_and_wait(record(0))
    journal.writer.commit_and_wait(record(1))
    assert storage.list(PLACE.segments) == [PLACE.segment(1), PLACE.segment(2)]
    assert [r.data["at"] for r in read_journal(storage, PLACE, KEY).records] == [0, 1]


def test_a_second_failure_ends_the_journal_with_the_storages_error() -> None:
    journal = Journal(FailingStorage(failures=2))
    with pytest.raises(StorageUnavailable):
        journal.writer.commit_and_wait(record(0))
    assert journal.counted == []


class FullStorage(Wrapped):
    """Has no room until it was asked so many times, for new objects and for more in old ones."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    def open_append(self, path: str) -> AppendFile:
        self.meet()
        return _FullFile(self, self.inner.open_append(path))

    def meet(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StorageFull("no space left", hint="free some")


class _FullFile:
    def __init__(self, storage: FullStorage, inner: AppendFile) -> None:
        self._storage = storage
        self._inner = inner

    def append(self, data: bytes) -> None:
        self._storage.meet()
        self._inner.append(data)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("before", [0, 1], ids=["a new segment", "the same segment"])
def test_a_full_storage_is_waited_for_and_nothing_is_lost(before: int) -> None:
    storage, slept = FullStorage(0), list[float]()
    journal = Journal(storage, room=Room(RUN, sleep=slept.append))
    for number in range(before):
        journal.writer.commit_and_wait(record(number))
    storage.refusals = 7
    journal.writer.commit_and_wait(record(before))
    assert slept == [*LOOK_SECONDS, *[LOOK_SECONDS[-1]] * 2]
    assert journal.ended == []
    assert storage.list(PLACE.segments) == [PLACE.segment(1)]
    assert [r.data["at"] for r in read_journal(storage, PLACE, KEY).records] == [*range(before + 1)]


def test_after_a_day_without_room_the_journal_ends_with_the_storages_error() -> None:
    slept: list[float] = []
    journal = Journal(FullStorage(10**9), room=Room(RUN, sleep=slept.append))
    with pytest.raises(StorageFull):
        journal.writer.commit_and_wait(record(0))
    assert MOST_SECONDS <= sum(slept) <= MOST_SECONDS + LOOK_SECONDS[-1]
    assert [type(error) for error in journal.ended] == [StorageFull]


def test_a_runner_whose_time_is_over_waits_for_room_no_longer() -> None:
    asked: list[None] = []

    def still_wanted() -> None:
        asked.append(None)
        if len(asked) == 3:
            raise EpochOver("another continues")

    journal = Journal(FullStorage(10**9), room=Room(RUN, still_wanted=still_wanted, sleep=lambda _: None))
    with pytest.raises(EpochOver):
        journal.writer.commit_and_wait(record(0))
    assert journal.counted == []


def _segment(batches: int) -> tuple[bytes, list[int]]:
    data, before = b"", bytes(32)
    ends: list[int] = []
    for number in range(batches):
        encoded, before = encode_batch(
            [record(number, b"p" * number)], run=RUN, epoch=Epoch(1), number=number, before=before, key=KEY
        )
        data += encoded
        ends.append(len(data))
    return data, ends


def _read(data: bytes) -> list[int]:
    return [batch.number for batch in read_segment(data, run=RUN, epoch=Epoch(1), key=KEY, where="segment")]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_cut_anywhere_keeps_the_whole_batches_before_it(data: st.DataObject) -> None:
    segment, ends = _segment(4)
    cut = data.draw(st.integers(0, len(segment)))
    assert _read(segment[:cut]) == list(range(sum(end <= cut for end in ends)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_byte_is_a_torn_tail_at_the_end_and_corruption_before_it(data: st.DataObject) -> None:
    segment, ends = _segment(4)
    at = data.draw(st.integers(0, len(segment) - 1))
    changed = bytearray(segment)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    if at >= ends[2]:
        assert _read(bytes(changed)) == [0, 1, 2]
    else:
        with pytest.raises(JournalCorrupt):
            _read(bytes(changed))


def test_a_batch_of_another_run_or_epoch_does_not_count() -> None:
    segment, _ = _segment(1)
    assert [*read_segment(segment, run=RunId("f" * 32), epoch=Epoch(1), key=KEY, where="s")] == []
    assert [*read_segment(segment, run=RUN, epoch=Epoch(2), key=KEY, where="s")] == []


def test_another_key_is_named_and_nothing_is_read() -> None:
    storage = MemoryStorage()
    journal = Journal(storage)
    journal.writer.commit_and_wait(record(0))
    with pytest.raises(TrustError):
        read_journal(storage, PLACE, b"x" * 32)


def test_a_blob_is_compared_with_its_record_before_it_is_handed_out() -> None:
    storage = MemoryStorage()
    storage.create_if_absent("runs/blob", b"what was written")
    good = Record("task.succeeded", 1, {}, None, Blob("runs/blob", _sha(b"what was written"), 16))
    assert load_payload(storage, good, where="task t") == b"what was written"
    swapped = Record("task.succeeded", 1, {}, None, Blob("runs/blob", _sha(b"something other!"), 16))
    with pytest.raises(TrustError):
        load_payload(storage, swapped, where="task t")
    gone = Record("task.succeeded", 1, {}, None, Blob("runs/other", _sha(b""), 0))
    with pytest.raises(StorageLost):
        load_payload(storage, gone, where="task t")


def _sha(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()
