"""The log of a server is put back from an older copy while runs are at work: nothing is done twice in silence, and nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from playhead.agent.local import LocalAgent
from playhead.client.client import Client
from playhead.client.flow_run import FlowRun
from playhead.client.patience import Patience
from playhead.core.state import RunStatus
from playhead.errors import CursorRefused
from playhead.home import Home
from playhead.settings import Settings
from tests.faults import dying
from tests.rooms import ROOT
from tests.system.machine import Machine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

PATIENT = Patience(tries=100, most_delay=0.5)


def executed(host: Machine, run: FlowRun[int]) -> Counter[str]:
    """How often each step of the run was begun, outside of the engine."""
    lines = (line.split() for line in host.done())
    return Counter(words[2] for words in lines if words[:2] == [run.id, "step"])


def let_go(host: Machine, run: FlowRun[int]) -> None:
    Path(f"{host.ledger}.{run.id}.go").touch()


async def until(host: Machine, holds: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(host.wait_for, holds, what)


def an_agent(host: Machine, home: Home, name: str) -> LocalAgent:
    environment = {**host.env, "PYTHONPATH": str(ROOT), "LEDGER": str(host.ledger)}
    return LocalAgent(
        home=home, name=name, labels=[name], import_paths=[ROOT], environment=environment, stop_runners=True
    )


async def test_an_older_copy_of_the_log(host: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """`known` had begun when the copy was made, and ended after it. `unknown` was claimed after it, and is at work when it is put back."""
    home = Home.open(Settings.load({"home": host.home}, env={}), env={})
    log, copy = host.home / "log.db", host.home / "copy"
    server = host.server()
    port = host.url().rpartition(":")[2]
    async with (
        Client(host.url(), home=home, patience=PATIENT) as client,
        an_agent(host, home, "early").attach(client.api, host.url()),
    ):
        await client.register(dying.held_steps)
        known = await client.start(dying.held_steps, labels=["early"])
        unknown = await client.start(dying.held_steps, labels=["late"])
        await until(host, lambda: executed(host, known)["2"], "a step to hold")

        assert host.end(server) == 0
        shutil.copy(log, copy)
        server = host.server(port)
        let_go(host, known)
        assert (await known.wait()).state is RunStatus.SUCCEEDED
        async with an_agent(host, home, "late").attach(client.api, host.url()):
            await until(host, lambda: executed(host, unknown)["2"], "a step to hold")
            cursor = (await client.api.info()).cursor

            assert host.end(server) == 0
            shutil.copy(copy, log)
            host.server(port)
            with pytest.raises(CursorRefused):
                async with client.events(cursor=cursor) as pages:
                    await anext(pages)

            # The log knows the epoch in which all of this was done: it is adopted, and nothing is done again.
            assert (await known.wait()).state is RunStatus.SUCCEEDED
            assert executed(host, known) == {"0": 1, "1": 1, "2": 1, "3": 1}

            # Of this one the log knows no epoch. Its runner ends, and no other begins.
            await until(host, lambda: "`playhead reconcile" in caplog.text, "the agent to hold the run")
            let_go(host, unknown)
            view = await client.run(unknown.id)
            assert (view.state, view.attempt) == (RunStatus.READY, 0)
            assert set(executed(host, unknown)) <= {"0", "1", "2"}

            told = await asyncio.to_thread(host.json, "reconcile", unknown.id)
            assert [each["epoch"] for each in told["adopted"]] == [1]
            assert (await unknown.wait()).state is RunStatus.SUCCEEDED
        again = executed(host, unknown)
        assert {step: again[step] for step in "013"} == {"0": 1, "1": 1, "3": 1}
        assert again["2"] <= 2, "only what was in flight may run twice"
        assert (await asyncio.to_thread(host.json, "reconcile", unknown.id))["adopted"] == []


async def test_a_log_that_is_gone_is_told(host: Machine) -> None:
    """And not begun anew under a home whose storage is full of what it knew."""
    server = host.server()
    host.playhead("register", f"{ROOT}/tests/faults/dying.py:steps")
    assert host.end(server) == 0
    (host.home / "log.db").unlink()
    refused = host.playhead("server", "--port", "0", check=False)
    assert refused.returncode != 0
    assert "is gone" in refused.stderr
    assert "log.db.mark" in refused.stderr
    assert not (host.home / "log.db").exists()
