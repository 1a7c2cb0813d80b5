"""What a successor takes of the journals before its own: all that counts, and nothing behind the cut that another has settled."""

from __future__ import annotations

import dataclasses

from playhead import flow
from playhead.core import events as ev
from playhead.core.names import Epoch, RunId, TaskKey
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.writer import JournalWriter
from playhead.runner.recall import Predecessor, Recall, recall
from playhead.storage.memory import MemoryStorage
from tests.runner.bench import open_bench

RUN = RunId("0123456789abcdef" * 2)
KEY = b"k" * 32
FIRST = JournalPlace(RUN, Epoch(1), "aabbccdd")
SECOND = JournalPlace(RUN, Epoch(2), "eeff0011")


def written(storage: MemoryStorage, place: JournalPlace, key: bytes = KEY) -> JournalWriter:
    return JournalWriter(storage, place, key, on_durable=lambda first, records: None, on_end=lambda error: None)


def adopts(found: Recall) -> Record:
    event = ev.JournalAdopted(at=0, cuts=found.cuts)
    return Record(event.TYPE, event.SCHEMA, ev.encode(event))


def succeeds(key: str) -> list[Record]:
    events = (
        ev.TaskSubmitted(at=0, key=key, name=key),
        ev.TaskStarted(at=0, key=key),
        ev.TaskSucceeded(at=0, key=key, mac="m" * 22, size=1),
    )
    return [Record(event.TYPE, event.SCHEMA, ev.encode(event), None, b"") for event in events]


def read_by(storage: MemoryStorage, *earlier: JournalPlace) -> Recall:
    return recall(storage, [Predecessor(place, 0, {}) for place in earlier], KEY)


def test_what_comes_behind_a_cut_never_counts_whoever_reads_it_later() -> None:
    """The first runner wrote on after the second had adopted its journal: the second ran that task again, the third must not."""
    storage = MemoryStorage()
    first, second = written(storage, FIRST), written(storage, SECOND)
    first.commit_and_wait(adopts(Recall()))
    first.commit_and_wait(*succeeds("early"))
    by_second = read_by(storage, FIRST)
    second.commit_and_wait(adopts(by_second))
    first.commit_and_wait(*succeeds("late"))
    second.commit_and_wait(*succeeds("late"))

    by_third = read_by(storage, FIRST, SECOND)

    assert set(by_second.places) == {TaskKey("early")}
    assert by_third.cuts[0] == by_second.cuts[0]
    assert [place.epoch for place in by_third.places.values()] == [1, 2]
    assert list(by_third.order) == [TaskKey("early"), TaskKey("late")], "no outcome counts twice"


class Noting(MemoryStorage):
    """A storage that notes which objects are made and read, in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def create_if_absent(self, path: str, data: bytes) -> None:
        super().create_if_absent(path, data)
        self.noted.append(f"made {path}")

    def read(self, path: str, *, start: int = 0) -> bytes:
        self.noted.append(f"read {path}")
        return super().read(path, start=start)


@flow
def nothing() -> None:
    """Asks for no task."""


def test_a_journal_is_fenced_before_it_is_read() -> None:
    """Else its owner could go on writing what counts for it, and what its successor has not read."""
    storage = Noting()
    with open_bench(storage) as bench:
        run = bench.ask(nothing)
        first = bench.grant(run)
        bench.execution(first)  # started, and never heard of again
        before = written(storage, first.place, first.key.secret)
        before.commit_and_wait(adopts(Recall()))
        bench.lose(run, first.epoch)
        storage.noted.clear()
        bench.execution(dataclasses.replace(bench.grant(run), storage=storage))(nothing, {})
    assert f"made {first.place.fence}" in storage.noted
    assert storage.noted.index(f"made {first.place.fence}") < storage.noted.index(f"read {first.place.segment(1)}")
