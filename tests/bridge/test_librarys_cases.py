"""The library's own test cases of application recorders, on what the bridge is given: our bridge stands on what they promise.

Left out: `test_performance` and `test_concurrent_throughput`, which print a figure and find nothing wrong that the others do not; the
cases of aggregate, tracking and process recorders and of factories, which the bridge has no use for; subscriptions where a module has none;
and ten writers over SQLAlchemy, which wait eight seconds for SQLite's lock: the bridge has one.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import ApplicationRecorder
from eventsourcing.tests import persistence as cases

from tests.bridge import recorders
from tests.postgres.cluster import Cluster

SELECT: Final = "test_insert_select"  # by streams and of all, with every bound and filter
SIDE_BY_SIDE: Final = "test_concurrent_no_conflicts"  # ten writers, two readers, 10,000 events
WAIT_SECONDS: Final = 30.0
SUBSCRIBE: Final = "optional_test_insert_subscribe"  # from any place, with topics, stopped at any time


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    settings: dict[str, str]
    uuids: bool = False

    def passes(self, case: str) -> None:
        with self._opened() as opened:
            _application_case(opened, self._new_id)(case).debug()

    def passes_without_interleaving(self) -> None:
        """What lets a reader follow it: no event appears below one that was read."""
        with self._opened() as opened:
            _order_case(opened, self._new_id)("test").debug()

    @contextmanager
    def _opened(self) -> Generator[ApplicationRecorder]:
        factory, opened = recorders.opened(self.name, **self.settings)
        before = set(threading.enumerate())
        try:
            yield opened
        finally:
            for thread in set(threading.enumerate()) - before:
                thread.join(
                    WAIT_SECONDS
                )  # a case leaves readers behind, and SQLite crashes where a connection in use is closed
            factory.close()

    def _new_id(self) -> UUID | str:
        return uuid4() if self.uuids else f"default/run/{secrets.token_hex(16)}"


def popo(_folder: Path) -> Module:
    return Module("eventsourcing.popo", {})


def sqlite(folder: Path) -> Module:
    return Module("eventsourcing.sqlite", {"SQLITE_DBNAME": f"{folder}/log.db", "ORIGINATOR_ID_TYPE": "text"})


def sqlalchemy(folder: Path) -> Module:
    return Module("eventsourcing_sqlalchemy", {"SQLALCHEMY_URL": f"sqlite:///{folder}/log.db"}, uuids=True)


def postgresql(cluster: Cluster) -> Module:
    return Module("eventsourcing.postgres", recorders.settings_of(cluster))


@pytest.mark.parametrize("case", [SELECT, SIDE_BY_SIDE, SUBSCRIBE])
def test_popo(tmp_path: Path, case: str) -> None:
    popo(tmp_path).passes(case)


@pytest.mark.parametrize("case", [SELECT, SIDE_BY_SIDE])
def test_sqlite(tmp_path: Path, case: str) -> None:
    sqlite(tmp_path).passes(case)


def test_sqlalchemy(tmp_path: Path) -> None:
    sqlalchemy(tmp_path).passes(SELECT)


@pytest.mark.real
@pytest.mark.parametrize("case", [SELECT, SIDE_BY_SIDE, SUBSCRIBE])
def test_postgresql(postgres: Cluster, case: str) -> None:
    postgresql(postgres).passes(case)


@pytest.mark.parametrize("module", [popo, sqlite, sqlalchemy])
def test_inserts_do_not_interleave(tmp_path: Path, module: Callable[[Path], Module]) -> None:
    module(tmp_path).passes_without_interleaving()


@pytest.mark.real
def test_inserts_do_not_interleave_on_postgresql(postgres: Cluster) -> None:
    postgresql(postgres).passes_without_interleaving()


def _application_case(opened: ApplicationRecorder, new_id: Callable[[], UUID | str]) -> type[Any]:
    class Case(cases.ApplicationRecorderTestCase[Any]):
        def create_recorder(self) -> ApplicationRecorder:
            return opened

        def new_originator_id(self) -> UUID | str:
            return new_id()

    return Case


def _order_case(opened: ApplicationRecorder, new_id: Callable[[], UUID | str]) -> type[Any]:
    class Case(cases.NonInterleavingNotificationIDsBaseCase):
        insert_num = 500

        def create_recorder(self) -> ApplicationRecorder:
            return opened

        def new_originator_id(self) -> UUID | str:
            return new_id()

    return Case
