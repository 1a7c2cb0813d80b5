"""The view of a run of many tasks: the same as of a few, made where it stops nobody, and written part by part."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from pydantic_core import to_json

from playhead.core import events as ev
from playhead.core.run_json import run_json
from playhead.core.state import RunState
from playhead.log import Log
from playhead.server.answers import WRITTEN_AT_ONCE
from playhead.service import Service
from playhead.service import queries as queries_module
from playhead.service.queries import VIEWS_AT_ONCE
from tests.server.serving import serving
from tests.server.test_contract import CALM, Running, begun
from tests.stores import new_backend

TASKS = 2_500
BATCH = 500


@asynccontextmanager
async def long_run() -> AsyncGenerator[tuple[Service, Running]]:
    async with Log.open(await new_backend()) as log, Service(log, settings=CALM) as service:
        running = await begun(service)
        await service.report(running.run, running.batch(0, ev.JournalAdopted(at=1)))
        for first in range(0, TASKS, BATCH):
            tasks = [ev.TaskSubmitted(at=2, key=f"parse~{first + n}", name="parse") for n in range(BATCH)]
            await service.report(running.run, running.batch(1 + first, *tasks))
        yield service, running


async def test_it_is_the_view_of_the_port_at_every_version_and_has_its_length() -> None:
    body = b""
    async with long_run() as (service, running), serving(service) as url, aiohttp.ClientSession(url) as session:
        head = (await service.run(running.run)).version
        for at in (3, head - BATCH, head):
            for tasks in ("true", "false"):
                async with session.get(f"/api/runs/{running.run}?at={at}&tasks={tasks}") as response:
                    body = await response.read()
                assert response.status == 200
                assert response.content_type == "application/json"
                assert response.headers["content-length"] == str(len(body))
                assert body == to_json(await service.run(running.run, at=at, tasks=tasks == "true"))
        assert len(body) < WRITTEN_AT_ONCE < len(to_json(await service.run(running.run))), "both ways were gone"


async def test_it_is_made_in_another_thread_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several at once would take the interpreter from the loop in turns."""
    at_work, most, threads = 0, 0, set[int]()

    def watched(state: RunState, *, tasks: bool) -> Iterator[bytes]:
        nonlocal at_work, most
        threads.add(threading.get_ident())
        at_work += 1
        most = max(most, at_work)
        yield from run_json(state, tasks=tasks)
        at_work -= 1

    monkeypatch.setattr(queries_module, "run_json", watched)
    async with long_run() as (service, running):
        whole = await asyncio.gather(*(service.run_json(running.run) for _ in range(8)))
        assert len(set(map(b"".join, whole))) == 1
        assert most == VIEWS_AT_ONCE == 1
        assert threading.get_ident() not in threads
        threads.clear()
        await service.run_json(running.run, tasks=False)
        assert threads == {threading.get_ident()}, "a small one needs no other thread"
