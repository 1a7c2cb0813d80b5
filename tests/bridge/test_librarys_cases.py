"""The library's own test cases of application recorders, on what the bridge is given: our bridge stands on what they promise.

What is measured there, and printed, is not of our lanes; what is left is right or wrong.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory
from eventsourcing.tests import persistence as cases

from tests.bridge import recorders
from tests.postgres.cluster import Cluster

NewId = Callable[[], UUID | str]


def text() -> str:
    return f"default/run/{secrets.token_hex(16)}"


def passes(open_it: Callable[[], tuple[InfrastructureFactory[Any], ApplicationRecorder]], new_id: NewId) -> None:
    """Inserting and selecting, by streams and of all, with every bound and filter."""
    factory, opened = open_it()

    class InsertSelect(cases.ApplicationRecorderTestCase[Any]):
        def create_recorder(self) -> ApplicationRecorder:
            return opened

        def new_originator_id(self) -> UUID | str:
            return new_id()

    try:
        InsertSelect("test_insert_select").debug()
    finally:
        factory.close()


def test_popo() -> None:
    passes(lambda: recorders.opened("eventsourcing.popo"), text)


def test_sqlite(tmp_path: Path) -> None:
    url = str(tmp_path / "log.db")
    passes(lambda: recorders.opened("eventsourcing.sqlite", SQLITE_DBNAME=url, ORIGINATOR_ID_TYPE="text"), text)


def test_sqlalchemy(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    passes(lambda: recorders.opened("eventsourcing_sqlalchemy", SQLALCHEMY_URL=url), uuid4)


@pytest.mark.real
def test_postgresql(postgres: Cluster) -> None:
    passes(lambda: recorders.opened("eventsourcing.postgres", **recorders.settings_of(postgres)), text)


@pytest.mark.real
def test_inserts_do_not_interleave_on_postgresql(postgres: Cluster) -> None:
    """What lets a reader follow it: no event appears below one that was read."""
    factory, opened = recorders.opened("eventsourcing.postgres", **recorders.settings_of(postgres))

    class NonInterleaving(cases.NonInterleavingNotificationIDsBaseCase):
        insert_num = 500

        def create_recorder(self) -> ApplicationRecorder:
            return opened

        def new_originator_id(self) -> UUID | str:
            return text()

    try:
        NonInterleaving("test").debug()
    finally:
        factory.close()
