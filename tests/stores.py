"""Where the engine's tests open their logs: in memory, or each at a place of its own behind the URL given by `pytest --store URL`.

In the URL `{new}` stands for a name that is made for each log. What a test's `MemoryRecords` are in memory, that place is there:
opened again on the same records, it is the same log. A test that looks into the records, or that is about one store, carries the
marker `own_store`, and is left out where another store is asked for.

A store that several servers may share is here one server's alone: who leads is a matter of a clock, and that of these tests goes on by
leaps, which no database keeps up with. Several servers have tests of their own.
"""

from __future__ import annotations

import secrets
from typing import Any, Final, cast

from playhead.log import open_backend
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import Capability, StoreBackend

NEW: Final = "{new}"


async def new_backend() -> StoreBackend:
    """A log of its own, open and empty."""
    return await backend_of(MemoryRecords())


async def backend_of(records: MemoryRecords) -> StoreBackend:
    """The log that these records stand for, open."""
    if _chosen.url is None:
        return MemoryBackend(records)
    assert not records.events, "a test that fills its records itself carries the marker own_store"
    return cast(StoreBackend, _Alone(await open_backend(_chosen.place(records))))


def new_url() -> str:
    """The URL of a log that nobody has opened yet, for tests that give it to somebody else. In memory each opening is a log."""
    return "memory:" if _chosen.url is None else _fresh(_chosen.url)


def chosen_url() -> str | None:
    """What `new_url` gives where a store was asked for; else None, and whoever is started chooses for itself."""
    return None if _chosen.url is None else _fresh(_chosen.url)


def choose(url: str | None) -> None:
    """From now on, open logs there. ValueError: every log would be the same one."""
    if url is not None and NEW not in url:
        raise ValueError(f"--store needs {NEW} where each log's own name belongs: {url}")
    _chosen.url = url


class _Alone:
    """Has whatever the store has, but for company."""

    def __init__(self, store: StoreBackend) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._store.capabilities - {Capability.SHARED}


class _Chosen:
    """The session's store, and where in it the logs of a test's records are."""

    def __init__(self) -> None:
        self.url: str | None = None
        self._places: dict[
            int, tuple[MemoryRecords, str]
        ] = {}  # by identity; the records are held, so that it stays theirs

    def place(self, records: MemoryRecords) -> str:
        assert self.url is not None
        return self._places.setdefault(id(records), (records, _fresh(self.url)))[1]


def _fresh(url: str) -> str:
    return url.replace(NEW, f"t{secrets.token_hex(6)}")


_chosen: Final = _Chosen()
