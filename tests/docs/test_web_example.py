"""The example of an engine in a web application, served by uvicorn as its page says, asked as a browser would."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from playhead.core.names import run_stream
from tests.docs.pages import EXAMPLES
from tests.system.machine import Machine, machine

pytestmark = pytest.mark.real


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(tmp_path)  # where the application keeps its log
    with machine(home) as started:
        yield started


async def test_a_report_is_asked_for_and_comes(host: Machine, tmp_path: Path) -> None:
    socket = tmp_path / "web.sock"
    options = ("--app-dir", str(EXAMPLES), "--uds", os.path.relpath(socket), "in_fastapi:app")
    uvicorn = host.start(sys.executable, "-m", "uvicorn", *options, name="uvicorn")
    host.wait_for(lambda: socket.exists() or uvicorn.poll() is not None, "uvicorn to listen")
    assert uvicorn.poll() is None, (host.home / "uvicorn.out").read_text()
    connector = aiohttp.UnixConnector(os.path.relpath(socket))
    async with aiohttp.ClientSession("http://web", connector=connector) as session:

        async def asked(method: str, path: str) -> tuple[int, Any]:
            async with session.request(method, path) as answer:
                return answer.status, await answer.json()

        status, made = await asked("POST", "/reports?pages=12")
        assert status == 200
        async with session.get(f"/playhead/api/events?stream={run_stream(made['id'])}") as events:
            async for line in events.content:
                if b"run.succeeded" in line:
                    break
        assert await asked("GET", f"/reports/{made['id']}") == (200, {"state": "succeeded", "length": 1400})
        assert (await asked("GET", f"/reports/{'0' * 32}"))[0] == 404
    assert host.end(uvicorn) == 0
