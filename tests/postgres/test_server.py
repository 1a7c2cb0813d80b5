"""`playhead server --store` on PostgreSQL: a real process, what it says of itself, and what of its log is in the database."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from playhead.core.names import Position
from playhead_adapters.stores.postgres import open_url
from tests.postgres.cluster import Cluster

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 50.0


async def test_a_server_keeps_its_log_there_and_tells_where_without_the_password(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_STORE", postgres.new_log().replace("owner@", "owner:geheim@"))
    server = subprocess.Popen(
        [sys.executable, "-m", "playhead.cli", "server", "--port", "0", "--home", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        note = json.loads(server.stdout.readline())
        with urllib.request.urlopen(f"{note['url']}/api/info", timeout=PATIENCE_SECONDS) as answer:
            info = json.load(answer)
    finally:
        server.terminate()
        _, said = server.communicate(timeout=PATIENCE_SECONDS)
    assert note["store"].startswith("postgresql://owner:***@127.0.0.1:")
    assert "geheim" not in said.decode()
    backend = await open_url(postgres.new_log().rpartition("=")[0] + "=" + note["store"].rpartition("=")[2])
    try:
        assert (backend.log_id, await backend.head() >= Position(0)) == (info["log_id"], True)
    finally:
        await backend.close()
