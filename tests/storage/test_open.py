"""Opening by URL: which scheme goes where, and what is said when none does."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import playhead.storage
from playhead.errors import StorageLost, UsageError
from playhead.storage import open_storage
from playhead.storage.folder import FolderStorage
from playhead.storage.memory import MemoryStorage


@pytest.mark.parametrize("form", ["path", "text", "url"])
def test_a_folder_by_any_name(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "my storage, 100%"
    forms: dict[str, str | Path] = {"path": folder, "text": str(folder), "url": folder.as_uri()}
    url = forms[form]
    storage = open_storage(url)
    assert isinstance(storage, FolderStorage)
    storage.create_if_absent("a", b"1")
    assert (folder / "a").read_bytes() == b"1"
    assert open_storage(storage.url).read("a") == b"1"


def test_a_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_storage("here").url == (tmp_path / "here").as_uri()


def test_memory_is_shared_by_name() -> None:
    first = open_storage("memory:test-open")
    first.create_if_absent("a", b"1")
    assert open_storage("memory:test-open").read("a") == b"1"
    assert open_storage("memory:test-open", expect_id=first.id).id == first.id
    assert not open_storage("memory:").exists("a")
    nameless = open_storage("memory:")
    assert isinstance(nameless, MemoryStorage)
    assert open_storage(nameless.url) is nameless


def test_what_is_known_must_be_there(tmp_path: Path) -> None:
    for url in (tmp_path.as_uri(), str(tmp_path), "memory:never-opened"):
        with pytest.raises(StorageLost, match="ab" * 16):
            open_storage(url, expect_id="ab" * 16)
    other = open_storage("memory:test-other")
    with pytest.raises(StorageLost):
        open_storage("memory:test-other", expect_id="ab" * 16)
    assert other.id != "ab" * 16


@pytest.mark.parametrize("url", ["ftp://host/folder", "s4:bucket", "FTP:x"])
def test_an_unknown_scheme_names_those_that_there_are(url: str) -> None:
    with pytest.raises(UsageError, match=r"file:.*memory:"):
        open_storage(url)


@pytest.mark.parametrize("url", ["file://host/folder", "file:relative", "file:///a?b", "file:///a#b", "memory:/x"])
def test_a_url_that_names_nothing_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="write"):
        open_storage(url)


def test_other_schemes_come_from_installed_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = EntryPoints(
        (
            EntryPoint("mine", "playhead.storage.memory:open_url", "playhead.storage"),
            EntryPoint("broken", "playhead.no_such_module:open_url", "playhead.storage"),
        )
    )

    def entry_points(*, group: str) -> EntryPoints:
        return installed.select(group=group)

    monkeypatch.setattr(playhead.storage, "entry_points", entry_points)
    assert isinstance(open_storage("mine:test"), MemoryStorage)
    with pytest.raises(UsageError, match="no_such_module"):
        open_storage("broken:x")
    with pytest.raises(UsageError, match="broken:, file:, memory:, mine:"):
        open_storage("other:x")


def test_a_closed_append_takes_nothing(tmp_path: Path) -> None:
    for storage in (open_storage(tmp_path), open_storage("memory:")):
        file = storage.open_append("segment")
        file.append(b"kept")
        file.close()
        file.close()
        with pytest.raises(Exception, match="closed"):
            file.append(b"more")
        assert storage.read("segment") == b"kept"
