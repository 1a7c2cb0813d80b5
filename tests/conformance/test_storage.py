"""Every built-in storage passes the suite; storages with one planted bug each fail the check that is named for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from playhead.errors import AlreadyExists
from playhead.ports.storage import AppendFile, Storage
from playhead.storage.folder import FolderStorage
from playhead.storage.memory import MemoryStorage
from playhead.testing.storage import STORAGE_SUITE, check_storage


def _problems(results: Sequence[object]) -> list[object]:
    return [result for result in results if not getattr(result, "passed", False)]


async def test_the_folder_passes(tmp_path: Path) -> None:
    results = await check_storage(lambda: FolderStorage(tmp_path / "storage"))
    assert _problems(results) == []
    assert len(results) == len(STORAGE_SUITE.names)


async def test_memory_passes() -> None:
    storage = MemoryStorage()
    results = await check_storage(lambda: storage)
    assert _problems(results) == []
    assert len(results) == len(STORAGE_SUITE.names)


class Wrapped:
    """Hands everything on to the real one; each bug below overrides one method."""

    def __init__(self, inner: MemoryStorage) -> None:
        self.inner = inner

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def url(self) -> str:
        return self.inner.url

    def create_if_absent(self, path: str, data: bytes) -> None:
        self.inner.create_if_absent(path, data)

    def open_append(self, path: str) -> AppendFile:
        return self.inner.open_append(path)

    def append_loose(self, path: str, data: bytes) -> None:
        self.inner.append_loose(path, data)

    def read(self, path: str, *, start: int = 0) -> bytes:
        return self.inner.read(path, start=start)

    def settle(self, path: str) -> None:
        self.inner.settle(path)

    def exists(self, path: str) -> bool:
        return self.inner.exists(path)

    def list(self, prefix: str) -> Sequence[str]:
        return self.inner.list(prefix)


class NotExclusive(Wrapped):
    """Looks first and creates then, and takes any loser for a winner."""

    def create_if_absent(self, path: str, data: bytes) -> None:
        try:
            self.inner.create_if_absent(path, data)
        except AlreadyExists:
            if self.inner.read(path)[:5] == b"first":
                raise


class HalfVisible(Wrapped):
    """Writes in place, and lets readers in between the halves."""

    seen = threading.Event()

    def create_if_absent(self, path: str, data: bytes) -> None:
        file = self.inner.open_append(path)
        file.append(data[: len(data) // 2])
        if len(data) > 100_000:
            self.seen.clear()
            self.seen.wait(0.5)
        file.append(data[len(data) // 2 :])

    def read(self, path: str, *, start: int = 0) -> bytes:
        data = self.inner.read(path, start=start)
        self.seen.set()
        return data


class FlatList(Wrapped):
    def list(self, prefix: str) -> Sequence[str]:
        return [path for path in self.inner.list(prefix) if path.count("/") <= prefix.count("/") + 1]


class UnsortedList(Wrapped):
    def list(self, prefix: str) -> Sequence[str]:
        return self.inner.list(prefix)[::-1]


class PrefixList(Wrapped):
    """Takes the prefix for letters and not for a folder."""

    def list(self, prefix: str) -> Sequence[str]:
        return [path for path in self.inner.list("") if path.startswith(prefix)]


class Overwriting:
    def __init__(self, storage: MemoryStorage, inner: AppendFile, path: str) -> None:
        self.storage, self.inner, self.path = storage, inner, path

    def append(self, data: bytes) -> None:
        if data:
            self.storage._objects[self.path][:] = data  # pyright: ignore[reportPrivateUsage] — the bug reaches inside

    def close(self) -> None:
        self.inner.close()


class AppendOverwrites(Wrapped):
    def open_append(self, path: str) -> AppendFile:
        return Overwriting(self.inner, self.inner.open_append(path), path)


class AppendTakesOver(Wrapped):
    """Opens an object that is there already."""

    def open_append(self, path: str) -> AppendFile:
        try:
            return self.inner.open_append(path)
        except AlreadyExists:
            return self.inner.open_append(f"{path}-{threading.get_ident()}-{len(self.inner.list(''))}")


class CachedExists(Wrapped):
    def __init__(self, inner: MemoryStorage) -> None:
        super().__init__(inner)
        self.answers: dict[str, bool] = {}

    def exists(self, path: str) -> bool:
        return self.answers.setdefault(path, self.inner.exists(path))


class LooseInTwo(Wrapped):
    """Writes a line in two pieces, and lets another writer in between."""

    turn = threading.Condition()

    def append_loose(self, path: str, data: bytes) -> None:
        with self.turn:
            self.inner.append_loose(path, data[:10])
            self.turn.notify_all()
            self.turn.wait(0.01)
            self.inner.append_loose(path, data[10:])


class SettlingStopsWriter(Wrapped):
    """Seals the object, as stores do whose appends end with a commit."""

    def __init__(self, inner: MemoryStorage) -> None:
        super().__init__(inner)
        self.files: dict[str, AppendFile] = {}

    def open_append(self, path: str) -> AppendFile:
        return self.files.setdefault(path, self.inner.open_append(path))

    def settle(self, path: str) -> None:
        self.files[path].close()


class LosesTail(Wrapped):
    def read(self, path: str, *, start: int = 0) -> bytes:
        return self.inner.read(path, start=start)[: 256 * 1024]


class MissingIsEmpty(Wrapped):
    def read(self, path: str, *, start: int = 0) -> bytes:
        return self.inner.read(path, start=start) if self.inner.exists(path) else b""


class NewIdEachTime(Wrapped):
    @property
    def id(self) -> str:
        return MemoryStorage().id


class AnyPath(Wrapped):
    def exists(self, path: str) -> bool:
        return path == "" or self.inner.exists(path)


@pytest.mark.parametrize(
    ("bug", "check"),
    [
        (NotExclusive, "one_of_many_creators_wins"),
        (HalfVisible, "nobody_reads_half_an_object"),
        (FlatList, "list_is_recursive_and_sorted"),
        (UnsortedList, "list_is_recursive_and_sorted"),
        (PrefixList, "list_is_recursive_and_sorted"),
        (AppendOverwrites, "appends_are_seen_in_order"),
        (SettlingStopsWriter, "what_another_wrote_can_be_settled"),
        (AppendTakesOver, "an_append_object_is_new"),
        (CachedExists, "exists_sees_what_others_create"),
        (LooseInTwo, "loose_appends_stay_whole"),
        (LosesTail, "objects_read_back"),
        (MissingIsEmpty, "what_is_missing_is_named"),
        (NewIdEachTime, "the_id_is_kept"),
        (AnyPath, "bad_paths_are_refused"),
    ],
)
async def test_a_planted_bug_fails_by_name(bug: Callable[[MemoryStorage], Storage], check: str) -> None:
    inner = MemoryStorage()
    storage = bug(inner)
    assert check in {result.name for result in await check_storage(lambda: storage) if not result.passed}


async def test_a_create_that_overwrites_fails_by_name() -> None:
    class Overwrites(Wrapped):
        def create_if_absent(self, path: str, data: bytes) -> None:
            self.inner._objects[path] = bytearray(data)  # pyright: ignore[reportPrivateUsage] — the bug reaches inside

    storage = Overwrites(MemoryStorage())
    failed = {result.name for result in await check_storage(lambda: storage) if not result.passed}
    assert {"a_second_create_is_refused", "one_of_many_creators_wins"} <= failed
