"""Why a run waits, asked of real agents: whatever may be missing is named exactly, with what would help."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from playhead import Flow
from playhead.agent.local import LocalAgent
from playhead.agent.rules import Allowed
from playhead.cli.actions.look import explained
from playhead.client.client import Client
from playhead.core.events import AgentJoined, SealedBy
from playhead.core.kinds import FailureCategory
from playhead.core.state import RunStatus
from playhead.core.task_waits import TaskWaitsFor
from playhead.core.troubles import FAILED
from playhead.core.waiting import RunWaiting, WaitsFor
from playhead.home import Home
from playhead.log import Log
from playhead.ports.server import AgentHello
from playhead.service.service import Service
from playhead.settings import Settings
from playhead.storage.folder import FolderStorage
from playhead.trust.keys import KeyRing, MasterKey
from tests.agent.stand_ins import stand_in
from tests.executors.clusters import dask_cluster
from tests.rooms import ROOT
from tests.server.serving import serving
from tests.stores import new_backend
from tests.system import waiting_flows as flows

pytestmark = pytest.mark.real

IDLE = stand_in("import time\ntime.sleep(600)")  # a runner that never begins, until its agent ends it


@dataclass(frozen=True)
class Site:
    """A server, its user, and agents that join as a test says. What they launch ends with them."""

    client: Client
    home: Home
    url: str
    stack: AsyncExitStack

    async def agent(self, **given: Any) -> None:
        wanted: dict[str, Any] = {"home": self.home, "name": "otter", "stop_runners": True, "import_paths": (ROOT,)}
        described = LocalAgent(**(wanted | given))
        await self.stack.enter_async_context(described.attach(self.client.api, self.url))

    async def ask(self, flow: Flow[..., Any], **how: Any) -> str:
        return (await self.client.start(flow, **how)).id

    async def why(self, run: str, holds: Callable[[RunWaiting], bool], task: str | None = None) -> RunWaiting:
        """What it waits for, once this holds."""
        while not holds(told := await self.client.why(run, task=task)):
            await anyio.sleep(0.02)
        return told

    async def failed(self, flow: Flow[..., Any], category: FailureCategory) -> str:
        """Have the flow fail. State and `why` tell the category; what was raised, which is returned, only its user is told."""
        run = await self.ask(flow)
        told = await self.why(run, lambda told: told.waits_for is WaitsFor.NOTHING)
        assert told.state is RunStatus.FAILED
        assert told.because.startswith("it has failed")
        assert told.because.endswith(f": {FAILED[category]}")
        assert told.help == f"`playhead show {run} --failures` says what was raised, and where"
        view = await explained(self.client, await self.client.run(run), self.home, must=True)
        assert view.error is not None
        assert view.error.message is not None
        return view.error.message


@asynccontextmanager
async def a_site(folder: Path) -> AsyncGenerator[Site]:
    home = Home.open(Settings.load({"home": str(folder)}, env={}), env={})
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            Service(await stack.enter_async_context(Log.open(await new_backend())))
        )
        url = await stack.enter_async_context(serving(service))
        client = await stack.enter_async_context(Client(service, home=home))
        yield Site(client, home, url, stack)


@pytest.mark.parametrize(
    ("flow", "agent", "says", "helps"),
    [
        (flows.in_a_container, {}, "otter, lacks kind docker (it has local)", "start an agent of kind docker"),
        (flows.with_labels, {"labels": ["eu"]}, "lacks label gpu (it has eu)", "an agent with label gpu"),
        (
            flows.anywhere,
            {"keys": KeyRing(MasterKey.random())},
            "lacks key {key} (it has ",
            "`playhead key export` here",
        ),
        (
            flows.anywhere,
            {"storage": "elsewhere"},
            "lacks storage {storage} (it has ",
            "an agent with storage {storage}",
        ),
        (
            flows.anywhere,
            {"rules": [Allowed(flows=["census"])]},
            "not on the agent's lists of what it takes",
            "own log",
        ),
    ],
    ids=["kind", "labels", "key", "storage", "allow-lists"],
)
async def test_what_an_agent_lacks_or_does_not_take(
    flow: Flow[..., Any], agent: dict[str, Any], says: str, helps: str, tmp_path: Path
) -> None:
    if "storage" in agent:
        agent = {"storage": FolderStorage(tmp_path / "elsewhere")}
    async with a_site(tmp_path / "home") as site:
        await site.agent(command=IDLE, **agent)
        named = {"key": site.home.keys.current.id, "storage": site.home.storage.id}
        run = await site.ask(flow)
        told = await site.why(run, lambda told: told.waits_for is WaitsFor.AGENT)
        assert says.format(**named) in told.because
        assert told.help is not None
        assert helps.format(**named) in told.help


async def test_another_python_where_the_code_went_by_value(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.client.register(flows.anywhere, sealed_by=SealedBy.VALUE)
        other = AgentJoined(
            agent="otter", kind="local", capacity=1, storages=(site.home.storage.id,), key_ids=(site.home.keys.current.id,),
            python="3.99", version="0.1.0",
        )  # fmt: skip
        await site.client.api.join(AgentHello(joined=other))
        run = (await site.client.start("anywhere")).id
        told = await site.why(run, lambda told: told.waits_for is WaitsFor.AGENT)
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert f"lacks Python {here} (it has 3.99)" in told.because
        assert f"start an agent with Python {here}; or register the flow from a module" in (told.help or "")


async def test_room_and_draining_and_time(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        nobody = await site.ask(flows.anywhere)
        told = await site.client.why(nobody)
        assert (told.because, told.waits_for) == ("no agent has ever joined", WaitsFor.AGENT)
        await site.agent(command=IDLE, capacity=1)
        assert (await site.why(nobody, lambda told: told.waits_for is WaitsFor.RUNNER)).because.startswith(
            "agent otter"
        )
        second = await site.ask(flows.anywhere)
        full = await site.why(second, lambda told: told.waits_for is WaitsFor.ROOM)
        assert full.because == "every agent that fits is full: otter has 1 of 1"
        assert "--capacity" in (full.help or "")
        due = datetime.now(UTC) + timedelta(hours=1)
        later = await site.client.why(await site.ask(flows.anywhere, at=due))
        assert (later.waits_for, (later.due or "")[:19]) == (WaitsFor.TIME, due.isoformat()[:19])
        await site.client.drain("otter")
        drains = await site.why(second, lambda told: told.waits_for is WaitsFor.AGENT)
        assert "agent otter would fit, and drains: it takes no more runs" in drains.because
        assert drains.help == "start another one like it"


async def test_a_task_that_is_to_be_tried_again_and_one_that_needs_it(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.agent(capacity=1)
        run = await site.ask(flows.retries)
        told = await site.why(run, lambda told: any(task.waits_for is TaskWaitsFor.TIME for task in told.tasks))
        tasks = {task.name: task for task in told.tasks}
        until = datetime.fromisoformat(tasks["fails_at_first"].until or "")
        assert timedelta(minutes=50) < until - datetime.now(UTC) <= timedelta(hours=1)
        needing = await site.client.why(run, task=tasks["after"].key)
        assert [(task.waits_for, task.on) for task in needing.tasks] == [
            (TaskWaitsFor.TASKS, (tasks["fails_at_first"].key,))
        ]
        await site.client.cancel(run)


async def test_a_scheduler_that_nobody_reaches_ends_the_run_and_is_named(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.agent(capacity=1)
        raised = await site.failed(flows.on_a_scheduler_that_is_not_there, FailureCategory.LOST)
        assert "did not reach a scheduler at tcp://127.0.0.1:1 within 0.5 s" in raised


async def test_a_result_too_large_to_hold_ends_the_run_and_is_named(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.agent(capacity=1)
        raised = await site.failed(flows.with_a_result_too_large_to_hold, FailureCategory.LOST)
        assert re.search(r"larger_than_its_worker.* took nearly all of its memory limit of 0\.5 GB", raised)


async def test_a_module_that_a_worker_lacks_ends_the_run_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow travels with its run, and what it imports does not."""
    modules, cluster = tmp_path / "modules", tmp_path / "cluster"
    modules.mkdir()
    cluster.mkdir()
    (modules / "at_the_runner_only.py").write_text("from playhead import task\n\n@task\ndef one(): return 1\n")
    with dask_cluster(cluster, n_workers=1) as address:
        (modules / "lonely_flow.py").write_text(_LONELY.format(address))
        monkeypatch.setattr(sys, "path", [str(modules), *sys.path])
        lonely = import_module("lonely_flow").lonely
        try:
            async with a_site(tmp_path / "home") as site:
                await site.agent(capacity=1, import_paths=(modules,))
                raised = await site.failed(lonely, FailureCategory.UNLOADABLE)
        finally:
            for name in ("at_the_runner_only", "lonely_flow"):
                sys.modules.pop(name, None)
    assert "task one does not load where it should run" in raised
    assert "No module named 'at_the_runner_only'" in raised


_LONELY: Final = """
from at_the_runner_only import one
from playhead import DaskExecutor, flow

@flow(executor=DaskExecutor(address={!r}))
def lonely():
    return one()
"""
