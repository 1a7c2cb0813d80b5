"""The folder storage: what it flushes, counted; how it fails; and what it says when it was deleted, moved or is full."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from playhead.errors import AlreadyExists, NoSuchObject, StorageFull, StorageLost, StorageUnavailable
from playhead.ports.storage import STORAGE_MARKER
from playhead.storage.durable import create_exclusively, make_folders
from playhead.storage.folder import MAX_KNOWN_FOLDERS, FolderStorage


class Flushes:
    """Counts flushes by kind, and can make the next ones fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count: Counter[str] = Counter()
        self.fail: OSError | None = None
        real_fsync, real_fdatasync = os.fsync, os.fdatasync

        def fsync(fd: int) -> None:
            self._meet("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
            real_fsync(fd)

        def fdatasync(fd: int) -> None:
            self._meet("data")
            real_fdatasync(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "fdatasync", fdatasync)

    def _meet(self, kind: str) -> None:
        self.count[kind] += 1
        if self.fail is not None:
            raise self.fail

    def during(self, action: Callable[[], object]) -> dict[str, int]:
        self.count.clear()
        action()
        return dict(self.count)


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Flushes:
    return Flushes(monkeypatch)


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "storage")


class TestFlushes:
    def test_each_operation_flushes_what_its_promise_needs(self, storage: FolderStorage, flushes: Flushes) -> None:
        storage.create_if_absent("runs/a/1-x/begin", b"")
        assert flushes.during(lambda: storage.create_if_absent("runs/a/1-x/one", b"data")) == {"file": 1, "folder": 1}
        assert flushes.during(lambda: storage.open_append("runs/a/1-x/segment").close()) == {"folder": 1}
        file = storage.open_append("runs/a/1-x/second")
        for size in (0, 1, 100_000):
            assert flushes.during(partial(file.append, bytes(size))) == {"data": 1}
        assert flushes.during(file.close) == {}
        assert flushes.during(lambda: storage.append_loose("runs/a/1-x/log", b"line")) == {}
        assert flushes.during(lambda: storage.read("runs/a/1-x/one")) == {}
        assert flushes.during(lambda: storage.exists("runs/a/1-x/fence")) == {}
        assert flushes.during(lambda: storage.list("runs")) == {}
        assert flushes.during(lambda: storage.settle("runs/a/1-x/segment")) == {"file": 1}

    def test_a_new_folder_is_flushed_into_the_one_above_it(self, storage: FolderStorage, flushes: Flushes) -> None:
        storage.create_if_absent("runs/a/1-x/one", b"")
        # entry "b" in runs, entry "1-y" in b, entry "one" in 1-y
        assert flushes.during(lambda: storage.create_if_absent("runs/b/1-y/one", b"")) == {"file": 1, "folder": 3}

    def test_another_process_s_folder_is_flushed_as_well(self, storage: FolderStorage, flushes: Flushes) -> None:
        storage.create_if_absent("runs/a/one", b"")
        (tmp := Path(storage.url.removeprefix("file://"))).joinpath("runs/b").mkdir()
        assert flushes.during(lambda: storage.create_if_absent("runs/b/one", b"")) == {"file": 1, "folder": 2}
        assert (tmp / "runs/b/one").is_file()

    def test_who_comes_second_may_rely_on_the_first(self, storage: FolderStorage, flushes: Flushes) -> None:
        storage.create_if_absent("fence", b"")

        def second() -> None:
            with pytest.raises(AlreadyExists):
                storage.create_if_absent("fence", b"")

        assert flushes.during(second) == {"file": 1, "folder": 1}

    def test_opening_touches_nothing(self, tmp_path: Path, flushes: Flushes) -> None:
        storage = FolderStorage(tmp_path / "not" / "yet")
        assert flushes.during(lambda: storage.exists("a") or storage.list("")) == {}
        with pytest.raises(NoSuchObject):
            storage.read("a")
        assert not (tmp_path / "not").exists()

    def test_remembered_folders_are_bounded(self, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        assert MAX_KNOWN_FOLDERS >= 1000
        monkeypatch.setattr("playhead.storage.folder.MAX_KNOWN_FOLDERS", 3)
        for number in range(20):
            storage.create_if_absent(f"f{number}/x", b"")
        assert len(storage._durable_folders) <= 4  # pyright: ignore[reportPrivateUsage] — the bound is what is tested


class TestFailures:
    def test_a_failed_flush_poisons_the_object(self, storage: FolderStorage, flushes: Flushes) -> None:
        file = storage.open_append("segment")
        file.append(b"good")
        flushes.fail = OSError(errno.EIO, os.strerror(errno.EIO))
        with pytest.raises(StorageUnavailable, match=r"append to segment.*(?s:.*)dmesg"):
            file.append(b"bad")
        flushes.fail = None
        flushes.count.clear()
        with pytest.raises(StorageUnavailable, match="failed before"):
            file.append(b"worse")
        assert flushes.count == {}, "a failed flush was tried again"
        file.close()
        assert storage.read("segment")[:4] == b"good"

    def test_what_did_not_fit_is_appended_to_the_same_object_once_there_is_room(
        self, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = storage.open_append("segment")
        file.append(b"good")
        real = os.pwrite

        def half(fd: int, data: memoryview, offset: int) -> int:
            if len(data) < 8:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(fd, data[:4], offset)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", half)
            with pytest.raises(StorageFull, match="free some space"):
                file.append(b"01234567")
        file.append(b"01234567")
        file.close()
        assert storage.read("segment") == b"good01234567"

    def test_a_flush_that_finds_no_room_is_not_repeatable(self, storage: FolderStorage, flushes: Flushes) -> None:
        file = storage.open_append("segment")
        flushes.fail = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(StorageUnavailable, match="free some space") as caught:
            file.append(b"bad")
        assert not isinstance(caught.value, StorageFull)
        flushes.fail = None
        with pytest.raises(StorageUnavailable, match="failed before"):
            file.append(b"worse")
        file.close()

    def test_an_object_that_found_no_room_may_be_made_under_the_same_name(
        self, storage: FolderStorage, flushes: Flushes
    ) -> None:
        storage.create_if_absent("first", b"")
        flushes.fail = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(StorageFull):
            storage.open_append("segment")
        flushes.fail = None
        storage.open_append("segment").close()

    def test_an_interrupted_append_poisons_the_object(
        self, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = storage.open_append("segment")

        def interrupted(fd: int) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "fdatasync", interrupted)
            file.append(b"perhaps")
        with pytest.raises(StorageUnavailable):
            file.append(b"more")
        file.close()

    def test_writes_that_come_short_are_completed(
        self, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.pwrite

        def short(fd: int, data: memoryview, offset: int) -> int:
            return real(fd, data[:3], offset)

        monkeypatch.setattr(os, "pwrite", short)
        file = storage.open_append("segment")
        file.append(b"0123456789")
        file.append(b"abcdef")
        file.close()
        storage.create_if_absent("object", b"0123456789")
        assert storage.read("segment") == b"0123456789abcdef"
        assert storage.read("object") == b"0123456789"

    def test_a_loose_append_that_comes_short_is_an_error(
        self, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.write

        def short(fd: int, data: bytes) -> int:
            return real(fd, data[:3])

        monkeypatch.setattr(os, "write", short)
        with pytest.raises(StorageUnavailable, match="free some space"):
            storage.append_loose("log", b"0123456789")

    def test_a_failed_create_leaves_no_object_behind(self, storage: FolderStorage, flushes: Flushes) -> None:
        storage.create_if_absent("first", b"")
        flushes.fail = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(StorageUnavailable, match="free some space"):
            storage.create_if_absent("second", b"data")
        flushes.fail = None
        assert not storage.exists("second")
        assert storage.list("") == [STORAGE_MARKER, "first"]
        storage.create_if_absent("second", b"data")

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT, errno.EMFILE])
    def test_each_refusal_of_the_system_says_what_to_do(
        self, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        assert storage.id

        def refuse(*_: object, **__: object) -> int:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            for action in (
                lambda: storage.create_if_absent("x", b""),
                lambda: storage.open_append("x"),
                lambda: storage.append_loose("x", b""),
            ):
                with pytest.raises(StorageUnavailable, match=os.strerror(code)) as caught:
                    action()
                assert caught.value.hint
                assert str(storage.url.removeprefix("file://")) in caught.value.message

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "storage").write_text("mine")
        with pytest.raises(StorageUnavailable):
            assert FolderStorage(tmp_path / "storage").id
        assert (tmp_path / "storage").read_text() == "mine"

    def test_files_in_the_making_are_not_listed(self, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        storage.create_if_absent("a/b", b"")

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "link", crash)
            patch.setattr(os, "unlink", crash)
            storage.create_if_absent("a/c", b"half")
        assert storage.list("a") == ["a/b"]

    def test_a_network_file_system_that_links_twice_has_one_winner(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.link

        def answer_lost(source: str, target: str) -> None:
            real(source, target)
            real(source, target)

        monkeypatch.setattr(os, "link", answer_lost)
        create_exclusively(tmp_path / "fence", b"mine")
        with pytest.raises(FileExistsError):
            create_exclusively(tmp_path / "fence", b"theirs")
        assert (tmp_path / "fence").read_bytes() == b"mine"


class TestIdentity:
    def test_the_id_outlives_the_object_and_the_process(self, tmp_path: Path, storage: FolderStorage) -> None:
        code = "import sys; from playhead.storage.folder import FolderStorage; print(FolderStorage(sys.argv[1]).id)"
        there = tmp_path / "storage"
        out = subprocess.run(
            [sys.executable, "-c", code, str(there)], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        assert FolderStorage(there, expect_id=out.strip()).id == storage.id == out.strip()

    def test_a_storage_that_is_missing_is_not_made_again(self, tmp_path: Path) -> None:
        with pytest.raises(StorageLost, match="missing or empty"):
            FolderStorage(tmp_path / "gone", expect_id="ab" * 16)
        assert not (tmp_path / "gone").exists()

    def test_another_storage_in_its_place_is_refused(self, tmp_path: Path, storage: FolderStorage) -> None:
        with pytest.raises(StorageLost, match=storage.id):
            FolderStorage(tmp_path / "storage", expect_id="ab" * 16)

    def test_a_damaged_marker_is_named(self, tmp_path: Path) -> None:
        (tmp_path / STORAGE_MARKER).write_text("no id")
        with pytest.raises(StorageUnavailable, match=STORAGE_MARKER):
            assert FolderStorage(tmp_path).id

    def test_deleted_while_in_use(self, tmp_path: Path, storage: FolderStorage) -> None:
        storage.create_if_absent("runs/a/one", b"")
        file = storage.open_append("runs/a/segment")
        file.append(b"kept")
        (tmp_path / "storage").rename(tmp_path / "moved")
        for action in (
            lambda: storage.exists("runs/a/fence"),
            lambda: storage.read("runs/a/one"),
            lambda: storage.list("runs"),
            lambda: storage.create_if_absent("runs/a/two", b""),
            lambda: storage.create_if_absent("runs/b/two", b""),
            lambda: storage.append_loose("runs/a/log", b""),
        ):
            with pytest.raises(StorageLost, match=storage.id):
                action()
        assert not (tmp_path / "storage").exists(), "a lost storage was begun anew"
        for path in (tmp_path / "moved" / "runs/a").iterdir():
            path.unlink()
        with pytest.raises(StorageLost, match="deleted"):
            file.append(b"into nothing")
        file.close()

    def test_a_folder_that_was_cleaned_up_is_made_again(self, tmp_path: Path, storage: FolderStorage) -> None:
        storage.create_if_absent("runs/a/one", b"")
        (tmp_path / "storage/runs/a/one").unlink()
        (tmp_path / "storage/runs/a").rmdir()
        assert not storage.exists("runs/a/one")
        storage.create_if_absent("runs/a/two", b"x")
        assert storage.list("runs") == ["runs/a/two"]


def test_made_folders_are_private_only_where_asked(tmp_path: Path) -> None:
    make_folders(tmp_path / "a" / "home", mode=0o700)
    assert (tmp_path / "a" / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a").stat().st_mode & 0o700 == 0o700
