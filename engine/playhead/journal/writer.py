"""Writing a journal: group commit in the threads that have something to say, and the fence after each durable write.

There is no journal thread. Whoever commits while nobody writes becomes the leader and writes for everyone until nothing is
waiting; the others leave their record and go. So one fdatasync serves all that wait for it, and a task's own thread makes its
result durable without a hop. Records are durable in the order in which they were given; their callbacks run in that order, in
the leader's thread, and only for batches that are durable and not fenced. DURABILITY.md sections 1 and 2.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Final

from playhead.core.names import Seq
from playhead.errors import (
    AlreadyExists,
    Fenced,
    PlayheadError,
    RunnerEnded,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from playhead.failpoints import reach
from playhead.journal.format import NO_MAC, Record, bytes_of, encode_batch
from playhead.journal.place import JournalPlace
from playhead.journal.room import Room
from playhead.ports.storage import AppendFile, Storage
from playhead.trust.cipher import Cipher

MAX_BATCH_RECORDS: Final = 2_000  # bounds the memory of one batch, and what a torn tail can cost
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024  # far below what a reader takes for damage; a record of its own may have more
LEAD_BATCHES: Final = 8  # that a thread with other duties writes in a row: under load there would be no end to it
MAX_SEGMENTS: Final = 1_000  # each failed flush takes a new one; a storage that fails this often is not storage

Durable = Callable[[Seq, Sequence[Record]], None]


class JournalWriter:
    """One epoch's journal, for its one runner. Thread safe.

    `append` leaves a record for the next batch. `commit` leaves one and sees to it that it is written: on return it is durable,
    or another thread is about to make it so. Once the records of a batch count, `on_durable(number of the first, records)` is
    called, then each record's own `then`, and then `on_batch()`; `on_end(error)` is called once if the journal can go no
    further (`Fenced`, or `StorageUnavailable`), after which nothing counts any more. While the storage is full the leader
    waits in `room`. After `conclude`, and after `close`, what is left here is dropped.
    """

    def __init__(
        self,
        storage: Storage,
        place: JournalPlace,
        key: bytes,
        *,
        cipher: Cipher | None = None,
        on_durable: Durable,
        on_end: Callable[[PlayheadError], None],
        on_batch: Callable[[], None] = lambda: None,
        room: Room | None = None,
    ) -> None:
        self._storage = storage
        self._place = place
        self._key = key
        self._cipher = cipher
        self._on_durable = on_durable
        self._on_end = on_end
        self._on_batch = on_batch
        self._room = room or Room(place.run)
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._waiting: list[Record] = []
        self._leading = False
        self._concluded = False  # it takes no more records
        self._ended: PlayheadError | None = None
        self._file: AppendFile | None = None
        self._segment = 0
        self._batch = 0
        self._before = NO_MAC
        self._durable = 0  # records that count
        self._taken = 0  # records of the batch that the leader is writing

    def append(self, record: Record) -> int:
        """Leave a record for the next batch. Returns how many records will count once it does, for `wait`."""
        with self._lock:
            return self._leave(record)

    def commit(self, *records: Record) -> None:
        """Leave these records, and write all that waits unless another thread is at it (then that one will)."""
        with self._lock:
            self._leave(*records)
            leads = self._begin_to_lead()
        if leads:
            self._lead()

    def commit_some(self, most_batches: int = LEAD_BATCHES) -> bool:
        """As `commit`, but a few batches at most. Whether more wait to be written: then call it again soon."""
        with self._lock:
            leads = self._begin_to_lead()
        return leads and self._lead(most_batches)

    def wait(self, count: int) -> None:
        """Until so many records count; somebody else writes them. Raises what ended the journal."""
        with self._written:
            self._written.wait_for(lambda: self._counts(count))
            if self._ended is not None and self._durable < count:
                raise self._ended

    def commit_and_wait(self, *records: Record) -> None:
        """As `commit`, and return only when they count. Raises what ended the journal, and RunnerEnded after its conclusion."""
        with self._lock:
            if self._concluded:
                raise RunnerEnded(f"the outcome of run {self._place.run} is recorded; nothing comes behind it")
            count = self._leave(*records)
        self._see_through(count)

    def conclude(self, record: Record) -> None:
        """The last record: return when it counts. What a thread that could not be stopped leaves later is dropped, as the log
        would refuse it, and with it the batch that it came in."""
        with self._lock:
            count = self._leave(record)
            self._concluded = True
        self._see_through(count)

    def close(self) -> None:
        """Write what waits, take nothing more, and let go of the file. The journal stays open for readers."""
        self.commit()
        with self._written:
            self._concluded = True
            self._written.wait_for(lambda: not self._leading)
            leads = self._begin_to_lead()  # whoever led may have left something: its time was over
        if leads:
            self._lead()
        with self._written:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    def _see_through(self, count: int) -> None:
        """Until so many records count, and lead whenever nobody does: another leader may stop before it came to them."""
        while True:
            with self._lock:
                leads = self._begin_to_lead()
            if leads:
                self._lead()
            with self._written:
                self._written.wait_for(lambda: self._counts(count) or not self._leading)
                if self._counts(count):
                    break
        self.wait(count)

    def _counts(self, count: int) -> bool:
        """Whether so many records count, or never will. The lock is held."""
        return self._durable >= count or self._ended is not None

    # --- the leader ---------------------------------------------------------------------------------------------------

    def _leave(self, *records: Record) -> int:
        """Leave the records. How many will count once these do. The lock is held."""
        if not self._concluded:
            self._waiting.extend(records)
        return self._durable + self._taken + len(self._waiting)

    def _begin_to_lead(self) -> bool:
        """Whether the caller is to lead now. The lock is held."""
        leads = not self._leading and bool(self._waiting)
        if leads:
            self._leading = True
        return leads

    def _lead(self, most_batches: int | None = None) -> bool:
        """Write for everyone until nothing waits, or so many batches. Whether more waits."""
        written = 0
        try:
            while batch := self._take(last=written == most_batches):
                reach("journal.writing")
                self._write(batch)
                reach("journal.synced")
                self._check_fence()
                self._count(batch)
                reach("journal.counted")
                written += 1
        except PlayheadError as error:
            self._end(error)
        except BaseException as error:
            self._end(StorageUnavailable(f"writing the journal failed: {error!r}"))
            raise
        return bool(self._waiting)

    def _take(self, *, last: bool) -> Sequence[Record]:
        """The next batch; nothing where the caller's time as a leader is over."""
        with self._written:
            if self._ended is not None:
                self._waiting.clear()
            if last or not self._waiting:
                self._leading = False
                self._written.notify_all()
                return ()
            batch = self._waiting[:MAX_BATCH_RECORDS]
        batch = batch[: _fitting(batch)]
        with self._lock:
            del self._waiting[: len(batch)]  # only the leader takes from the front
            self._taken = len(batch)
        return batch

    def _write(self, records: Sequence[Record]) -> None:
        data, mac = encode_batch(
            records,
            run=self._place.run,
            epoch=self._place.epoch,
            number=self._batch,
            before=self._before,
            key=self._key,
            cipher=self._cipher,
        )
        try:
            self._append(data)
        except StorageFull:
            raise  # after a day: a new file would have no more room
        except StorageUnavailable:
            # What a failed flush left on disk is not known, and it is never retried on that file: once more, on a new one.
            self._abandon_file()
            self._append(data)
        self._batch += 1
        self._before = mac

    def _append(self, data: bytes) -> None:
        self._room.insist(lambda: self._open_file().append(data))

    def _open_file(self) -> AppendFile:
        if self._file is None:
            if self._segment >= MAX_SEGMENTS:
                raise StorageUnavailable(f"{self._place.folder}: {MAX_SEGMENTS} segments failed, one after the other")
            self._segment += 1
            try:
                self._file = self._storage.open_append(self._place.segment(self._segment))
            except AlreadyExists:
                raise Fenced(f"the journal {self._place.folder} has another writer") from None
            except StorageFull:
                self._segment -= 1  # nothing was made
                raise
        return self._file

    def _abandon_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(StorageError, OSError):  # it has failed already
                file.close()

    def _check_fence(self) -> None:
        if self._storage.exists(self._place.fence):
            raise Fenced(
                f"run {self._place.run} is continued by a later runner; epoch {self._place.epoch} ends here",
                hint="nothing to do: what this runner had made durable before was taken over",
            )

    def _count(self, batch: Sequence[Record]) -> None:
        first = self._durable
        self._on_durable(Seq(first), batch)
        for record in batch:
            if record.then is not None:
                record.then(record)
        self._on_batch()
        with self._written:
            self._durable = first + len(batch)
            self._taken = 0
            self._written.notify_all()

    def _end(self, error: PlayheadError) -> None:
        with self._written:
            self._ended = error
            self._leading = False
            self._waiting.clear()
            self._taken = 0
            self._written.notify_all()
        self._on_end(error)


def _fitting(records: Sequence[Record]) -> int:
    """How many of the first records make one batch: at least one."""
    size = 0
    for index, record in enumerate(records):
        size += bytes_of(record.data) + (bytes_of(record.note) if record.note is not None else 0)
        size += len(record.payload) if isinstance(record.payload, bytes) else 0
        if size > MAX_BATCH_BYTES and index:
            return index
    return len(records)
