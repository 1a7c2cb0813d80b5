"""The event stores that are compared: where each opens a fresh log, and what nobody can beat there. Measures nothing itself.

PostgreSQL is a private cluster, as the tests have it, and is left out where it is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks import limits
from benchmarks.harness import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """`share` of the work that the quick ones are given: a figure of a slow one must not take minutes."""

    name: str
    fresh: Callable[[], str]  # the URL of a log that nobody has opened yet
    limit: Callable[[int, int], Limit] | None  # at so many rows a commit, and so many commits
    asked: bool = False  # whether figures are asked of it
    share: float = 1.0


@contextmanager
def stores(folder: Path) -> Generator[tuple[Store, ...]]:
    """All that can be had here, with their files in the folder."""
    names = count(1)

    def file(form: str) -> Callable[[], str]:
        return lambda: form.format(path=folder / f"log-{next(names)}.db")

    found = [
        Store(name="memory", fresh=lambda: "memory:", limit=None),
        Store(name="SQLite", fresh=file("sqlite://{path}"), limit=_sqlite(folder), asked=True),
        Store(name="bridge to POPO", fresh=lambda: "eventsourcing:eventsourcing.popo", limit=None, share=BRIDGE_SHARE),
        Store(
            name="bridge to the library's SQLite", fresh=file("eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={path}"),
            limit=_library(folder), share=BRIDGE_SHARE,
        ),
    ]  # fmt: skip
    try:
        from tests.postgres.cluster import running_cluster  # brings psycopg

        with running_cluster() as cluster:
            url = cluster.url()
            limit = _postgres(url)
            yield (*found, Store(name="PostgreSQL", fresh=cluster.new_log, limit=limit, asked=True))
    except (ImportError, LookupError):
        yield tuple(found)


BRIDGE_SHARE: Final = 0.2


def _sqlite(folder: Path) -> Callable[[int, int], Limit]:
    def limit(rows: int, commits: int) -> Limit:
        return Limit(what=f"SQLite, {_rows(rows)} a commit", values=(limits.commits_a_second(folder, rows, commits),))

    return limit


def _library(folder: Path) -> Callable[[int, int], Limit]:
    def limit(rows: int, commits: int) -> Limit:
        path = folder / f"library-{uuid4().hex}.db"
        values = (limits.library_commits_a_second(path, rows, commits),)
        return Limit(what=f"the library's own recorder, {_rows(rows)} an insert", values=values)

    return limit


def _postgres(url: str) -> Callable[[int, int], Limit]:
    def limit(rows: int, commits: int) -> Limit:
        return Limit(
            what=f"psycopg, {_rows(rows)} a commit", values=(limits.postgres_commits_a_second(url, rows, commits),)
        )

    return limit


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count > 1)}"
