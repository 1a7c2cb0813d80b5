"""From URLs to backends, and what a wrong URL is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.errors import LogUnusable, UsageError
from playhead.log import Log, open_backend
from playhead.log.memory import MemoryBackend
from playhead.log.sqlite import SqliteBackend, url_for
from playhead.ports.store import StoreBackend
from tests.log.samples import new


async def open_mine(url: str) -> StoreBackend:
    """A factory such as a user's own module has."""
    assert url.startswith(f"{__name__}:open_mine")
    return MemoryBackend()


not_a_function = 3


async def test_known_schemes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, kind in [
        ("memory:", MemoryBackend),
        (f"sqlite://{tmp_path}/absolute.db", SqliteBackend),
        ("sqlite:relative.db", SqliteBackend),
        ("sqlite:relative.db?max_bytes=1000000", SqliteBackend),
        (url_for(tmp_path / "odd %41?#ü name.db"), SqliteBackend),
    ]:
        backend = await open_backend(url)
        assert type(backend) is kind
        await backend.close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"absolute.db", "relative.db", "odd %41?#ü name.db"}


@pytest.mark.parametrize("rest", ["", "?some=setting"])
async def test_a_factory_of_ones_own(rest: str) -> None:
    async with Log.open(f"{__name__}:open_mine{rest}") as log:
        await log.append(new())


@pytest.mark.parametrize(
    "url", ["", "log.db", "nosuch:", "nosuch://x", "no_such_module:open", "no.such.module:open", "/log.db"]
)
async def test_an_unknown_store_is_told_the_known_ones(url: str) -> None:
    with pytest.raises(UsageError, match="names no event store") as caught:
        await open_backend(url)
    assert caught.value.hint is not None
    for scheme in ("memory:", "sqlite:", "eventsourcing:", "module:factory"):
        assert scheme in caught.value.hint


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("memory:shared", "not the URL of a memory log"),
        ("sqlite:", "not the URL of a SQLite log"),
        ("sqlite:log.db?max_bytes=much", "not the URL of a SQLite log"),
        ("sqlite:log.db?colour=red", "not the URL of a SQLite log"),
        ("eventsourcing:", "names no persistence module"),
        ("eventsourcing:no.such.module", "cannot be opened"),
        ("eventsourcing:eventsourcing.sqlite", "cannot be opened"),
        ("eventsourcing:eventsourcing.popo?POSTGRES_ENABLE_DB_FUNCTIONS=y", "POSTGRES_ENABLE_DB_FUNCTIONS is set"),
    ],
)
async def test_a_wrong_url_says_what_is_wrong(url: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        await open_backend(url)


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LogUnusable, match=r"folder .*nowhere does not exist"):
        await open_backend(url_for(tmp_path / "nowhere" / "log.db"))
    with pytest.raises(LogUnusable, match="cannot be opened"):
        await open_backend(f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={tmp_path}/nowhere/log.db")
