"""What a small run costs, counted inside its runner: modules, requests, flushes and threads. A real agent, a real fork, real files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from playhead.agent import local
from playhead.agent.local import LocalAgent
from playhead.client.client import Client
from playhead.client.loading import load_target
from playhead.engine import Engine
from playhead.home import Home
from playhead.settings import Settings
from tests.server.serving import until

FLOW = """
from playhead import flow, task
@task
def inc(x: int) -> int:
    return x + 1
@flow
def five() -> int:
    x = 0
    for _ in range(5):
        x = inc(x)
    return x
"""

# A zygote whose forks write down what they did. What they would do because time passes is put off: a slow machine counts the same.
COUNTING_ZYGOTE = """
import json, os, sys, threading
from playhead.client.transport import Transport
from playhead.runner import __main__ as runner, reporter, upkeep
from playhead.zygote import __main__ as zygote

reporter.GATHER_SECONDS = upkeep.FLUSH_SECONDS = 60.0
counted = {"requests": [], "fsync": 0, "fdatasync": 0, "threads": []}
def counting(name):
    real = getattr(os, name)
    def flush(fd):
        counted[name] += 1
        real(fd)
    setattr(os, name, flush)
counting("fsync")
counting("fdatasync")
ask, start, serve = Transport.ask, threading.Thread.start, runner.serve
async def counted_ask(self, method, path, **more):
    counted["requests"].append(path.rpartition("/")[2])
    return await ask(self, method, path, **more)
def counted_start(self):
    counted["threads"].append(self.name)
    start(self)
def counted_serve(order_fd):
    before = set(sys.modules)
    code = serve(order_fd)
    counted["imported"] = sorted(set(sys.modules) - before)
    with open(os.environ["COUNTED"], "a") as out:
        out.write(json.dumps(counted) + "\\n")
    return code
Transport.ask, threading.Thread.start, runner.serve = counted_ask, counted_start, counted_serve
zygote.main()
"""


async def test_a_small_run_costs_so_much_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = await counted_run(tmp_path, monkeypatch)
    assert [name for name in counted["imported"] if "small" not in name] == [], "a fork imports the flow, nothing else"
    assert counted["requests"] == ["start", "report"], "a run that ends while a report gathers is told in one"
    assert counted["fsync"] <= 5, "folders of run, journal and segments, and the segment's entry and first bytes"
    assert counted["fdatasync"] <= 7, "five steps, the cut before them and the outcome behind them"
    assert sorted(counted["threads"]) == ["playhead-link", "playhead-thread-1", "playhead-upkeep"]


async def counted_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the runner of five tasks counted."""
    source, told = folder / "small.py", folder / "counted"
    source.write_text(FLOW)
    monkeypatch.setenv("COUNTED", str(told))
    monkeypatch.setattr(local, "ZYGOTE", (sys.executable, "-c", COUNTING_ZYGOTE))
    home = Home.open(Settings.load({"home": str(folder / "home")}, env={}), env={})
    agent = LocalAgent(home=home, capacity=1, stop_runners=True)
    async with Engine("memory:", agent=agent, home=folder / "engine", storage=home.storage.url) as engine:
        run = await Client(engine.api, home=home).start(load_target(f"{source}:five"))
        assert await run.result() == 5
        await until(
            lambda: told.exists() and told.read_text().endswith("\n")
        )  # a runner's last line is behind its run's end
    counted: dict[str, Any] = json.loads(told.read_text())
    return counted
