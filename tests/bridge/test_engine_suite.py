"""The engine's own tests run on the bridge: the service, the server's contract on every road, and agents, each log on a recorder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.bridge import recorders
from tests.postgres.cluster import Cluster
from tests.rooms import ROOT
from tests.stores import NEW

pytestmark = [pytest.mark.real, pytest.mark.timeout(170)]

LIMIT_SECONDS: Final = 160.0
CORE: Final = ("tests/service/test_commands.py", "tests/service/test_leases.py")
SUITE: Final = (
    *CORE,
    "tests/service/test_queries.py",
    "tests/service/test_stream.py",
    "tests/server/test_contract.py",
    "tests/server/test_engine.py",
)
LEAST: Final = 30  # tests that must have run, lest a suite that finds none counts


def run_on(store: str, *tests: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--store", store, "-p", "no:cacheprovider", *tests],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= LEAST


def test_on_sqlite(tmp_path: Path) -> None:
    run_on(f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={tmp_path}/{NEW}.db", *SUITE)


def test_on_postgresql(postgres: Cluster) -> None:
    run_on(recorders.postgres(postgres, name=NEW), *CORE)
