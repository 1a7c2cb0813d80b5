"""Large results by reference: a worker writes them down, another reads them, and they pass through the runner only where they must."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task
from playhead.core.state import RunStatus
from playhead.errors import PlayheadError, StorageUnavailable, TrustError
from playhead.executors import ThreadExecutor
from playhead.flows.flow import Flow
from playhead.journal.format import Blob
from playhead.journal.place import JournalPlace
from playhead.journal.reader import read_journal
from playhead.runner import held
from playhead.storage.folder import FolderStorage
from tests.runner.bench import open_bench
from tests.runner.faulty import MortalStorage
from tests.runner.test_story import told
from tests.runner.workers import RemoteWorkers

LARGE = 100_000


@dataclasses.dataclass
class Pair:
    left: bytearray
    right: Any


@task
def large(letter: str) -> bytearray:
    return bytearray(letter.encode() * LARGE)


@task
async def large_later(letter: str) -> bytearray:
    return bytearray(letter.encode() * LARGE)


@task
def small() -> bytes:
    return b"small"


@task
def spoil(first: bytearray, second: bytearray) -> tuple[int, int]:
    """Two occurrences of one value are not one object."""
    first[0] = 0
    return first[0], second[0]


@task
def letters(parts: list[bytearray], *, by_name: dict[str, Any]) -> str:
    return "".join(chr(part[0]) for part in parts) + "".join(chr(part[0]) for part in by_name.values())


@task
def length(pair: Pair) -> int:
    return len(pair.left) + len(pair.right)


@task
async def first(value: bytearray) -> str:
    return chr(value[0])


@flow
def everywhere() -> list[Any]:
    a, b = large.submit("a"), large_later.submit("b")
    more = large.map(["c", "d"])
    return [
        spoil.submit(a, a).result(),
        letters.submit([b, *more], by_name={"x": a, "y": small.submit()}).result(),
        letters.submit(more, by_name={}).result(),
        length.submit(Pair(a, small.submit())).result(),  # type: ignore[arg-type]  # a future stands for its value
        first.submit(b).result(),
    ]


EXPECTED = [(0, ord("a")), "bcdas", "cd", LARGE + 5, "b"]


class Watched(FolderStorage):
    """A storage that knows what this process has written and read of objects."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[str] = []
        self.been_read: list[str] = []

    def create_if_absent(self, path: str, data: bytes) -> None:
        self.written += [path] if "/blobs/" in path else []
        super().create_if_absent(path, data)

    def read(self, path: str, *, start: int = 0) -> bytes:
        self.been_read += [path] if "/blobs/" in path else []
        return super().read(path, start=start)


def story(executor: Any, storage: FolderStorage | None = None) -> list[tuple[Any, ...]]:
    with open_bench(storage) as bench:
        run, outcome = bench.run(Flow(everywhere.fn, name="everywhere", executor=executor))
        assert outcome.error is None
        assert outcome.value == EXPECTED
        return told(bench.history(run))


def test_what_is_large_is_written_and_read_by_workers_alone_and_tells_the_same_story(tmp_path: Path) -> None:
    storage = Watched(tmp_path / "storage")
    assert story(RemoteWorkers(persist="worker"), storage) == story(ThreadExecutor(workers=2))
    assert storage.written == storage.been_read == []
    assert len([path for path in storage.list("runs") if "/blobs/" in path]) == 4


def test_the_record_names_what_the_worker_wrote_under_a_name_of_this_execution(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "storage")
    with open_bench(storage) as bench:
        run = bench.ask(Flow(everywhere.fn, name="everywhere", executor=RemoteWorkers()))
        grant = bench.grant(run)
        outcome = bench.execution(grant)(Flow(everywhere.fn, name="everywhere", executor=RemoteWorkers()), {})
        assert outcome.status is RunStatus.SUCCEEDED
        place = JournalPlace(run, grant.epoch, grant.grant)
        journal = read_journal(storage, place, grant.key.secret)
    blobs = {record.data["key"]: record.payload for record in journal.records if isinstance(record.payload, Blob)}
    assert len(blobs) == 4
    assert all(blob.path.startswith(place.blobs) for blob in blobs.values())


def test_where_workers_do_not_see_the_storage_values_pass_through_the_runner_and_the_log_says_so() -> None:
    with open_bench() as bench:  # of memory, which no other process sees
        run = bench.ask(Flow(everywhere.fn, name="everywhere", executor=RemoteWorkers(persist="auto")))
        grant = bench.grant(run)
        outcome = bench.execution(grant)(
            Flow(everywhere.fn, name="everywhere", executor=RemoteWorkers(persist="auto")), {}
        )
        assert outcome.value == EXPECTED
        lines = bench.storage.read(JournalPlace(run, grant.epoch, grant.grant).log_lines).decode()
        events = told(bench.history(run))
    assert lines.count("a worker does not see the run's storage") == 1
    assert events == story(ThreadExecutor(workers=2))


def test_workers_that_must_write_and_do_not_see_the_storage_fail_the_task_by_its_name() -> None:
    with open_bench() as bench:
        _, outcome = bench.run(Flow(everywhere.fn, name="everywhere", executor=RemoteWorkers(persist="worker")))
    assert outcome.status is RunStatus.FAILED
    assert outcome.error is not None
    assert isinstance(outcome.error.__cause__, StorageUnavailable)
    assert "this worker does not see the run's storage memory:" in str(outcome.error.__cause__)


@pytest.mark.parametrize("persist", ["worker", "auto"])
def test_a_worker_compares_what_it_reads(tmp_path: Path, persist: Any) -> None:
    """Somebody changes the object between the two tasks: nothing of it is loaded."""
    storage = FolderStorage(tmp_path / "storage")

    @task
    def change(folder: str) -> None:
        (blob,) = Path(folder).glob("runs/*/*/blobs/large-*")
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(data)
        held.release_all()  # what the one worker has in its own memory nobody has changed

    def tampered() -> str:
        a = large.submit("a")
        changed = change.submit(str(tmp_path / "storage"), wait_for=[a])
        return first.submit(a, wait_for=[changed]).result()

    with open_bench(storage) as bench:
        _, outcome = bench.run(Flow(tampered, name="tampered", executor=RemoteWorkers(persist=persist, workers=1)))
    assert isinstance(outcome.error, TrustError)
    assert "nothing of it was loaded" in str(outcome.error)


def test_a_successor_takes_what_workers_of_its_predecessor_wrote(tmp_path: Path) -> None:
    """The runner dies after each of its own durable steps. What was recorded is read, not made again."""
    deaths = 0
    for lives in range(1, 20):
        folder = tmp_path / str(lives)
        ledger = folder / "ledger"

        @task
        def made(path: str) -> bytes:
            with Path(path).open("a") as lines:
                lines.write("made\n")
            return b"a" * LARGE

        def chain(path: str) -> int:
            return length_of.submit(made.submit(path)).result()

        subject = Flow(chain, name="chain", executor=RemoteWorkers(persist="worker", workers=1))
        with open_bench(FolderStorage(folder / "storage")) as bench:
            run = bench.ask(subject)
            grant = bench.grant(run)
            mortal = MortalStorage(grant.storage, lives)
            times = 1
            try:
                outcome = bench.execution(dataclasses.replace(grant, storage=mortal))(subject, {"path": str(ledger)})
            except PlayheadError:
                deaths += 1
                records = read_journal(bench.storage, grant.place, grant.key.secret).records
                if not any(record.type == "task.succeeded" for record in records) and ledger.exists():
                    times = 2
                bench.lose(run, grant.epoch)
                outcome = bench.execution(bench.grant(run))(subject, {"path": str(ledger)})
        assert outcome.value == LARGE
        assert ledger.read_text() == "made\n" * times
        if mortal.steps < lives:
            break
    assert deaths >= 3, "the sweep must have killed the runner at several places"


@task
def length_of(value: bytes) -> int:
    return len(value)


def test_a_worker_holds_what_it_wrote_for_one_who_asks_and_no_more_than_its_limit() -> None:
    held.release_all()
    held.hold("a", b"1")
    assert held.taken("a") == b"1"
    assert held.taken("a") is None
    half = bytes(held.HELD_BYTES // 2)
    for name in ("b", "c", "d"):
        held.hold(name, half)
    assert held.taken("b") is None
    assert held.taken("d") is half
    held.release_all()
    assert held.taken("c") is None
