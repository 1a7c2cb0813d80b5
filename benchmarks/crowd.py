"""A crowd: many runs that a server believes to be active. Owns the requests that an agent and runners would make; runs no flow.

So that a server can be measured with more runs than a machine has room for processes.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from secrets import token_hex
from typing import Any, Final, Self

from playhead.client.http import HttpServer
from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.ports import server as port

SEAL: Final = "5e" * 8
STORAGE: Final = "57" * 8
PYTHON: Final = "3.11"
MAC: Final = "m" * 22
AGENT: Final = "crowd"
BEGINNING: Final = 50  # runs that begin at once: more would only wait for each other


class Crowd:
    """An async context manager. Each run has a connection of its own, as it would have with a process of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = AsyncExitStack()
        self._connections: list[HttpServer] = []

    async def __aenter__(self) -> Self:
        self.api = await self._stack.enter_async_context(HttpServer(self._url))
        await self.api.register_flow(
            ev.FlowRegistered(
                flow="crowd", seal=SEAL, sealed_by=ev.SealedBy.MODULE, executor="thread", run_config="universal",
                storage=STORAGE, key_id=SEAL,
            )
        )  # fmt: skip
        joined = ev.AgentJoined(
            agent=AGENT, kind="local", capacity=1, storages=(STORAGE,), key_ids=(SEAL,), python=PYTHON, version="0"
        )
        await self.api.join(port.AgentHello(joined=joined))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def begin(self, count: int) -> list[ActiveRun]:
        """So many runs, asked for, claimed and started."""
        turn = asyncio.Semaphore(BEGINNING)

        async def one() -> ActiveRun:
            async with turn:
                return await self._begin()

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def _begin(self) -> ActiveRun:
        api = await self._stack.enter_async_context(HttpServer(self._url))
        run = token_hex(16)
        await api.ask_run(port.RunRequest(run=run, flow="crowd", seal=SEAL))
        claimed = await api.claim(run, port.ClaimRequest(agent=AGENT, claim=token_hex(8)))
        first = port.StartRequest(epoch=1, grant=claimed.grant, storage=STORAGE, python=PYTHON, key_scheme=KEY_SCHEME)
        await api.start(run, first)
        active = ActiveRun(api, run, claimed.grant)
        await active.report(ev.JournalAdopted(at=0))
        return active


class ActiveRun:
    """A run that has begun, as its runner sees it."""

    def __init__(self, api: HttpServer, run: str, grant: str) -> None:
        self.run = run
        self._api = api
        self._grant = grant
        self._seq = 0
        self._steps = 0

    async def step(self) -> None:
        """One task from asked for to done, in one report."""
        self._steps += 1
        key = "step" if self._steps == 1 else f"step~{self._steps}"
        await self.report(
            ev.TaskSubmitted(at=1, key=key, name="step"),
            ev.TaskStarted(at=1, key=key),
            ev.TaskSucceeded(at=1, key=key, mac=MAC, size=1),
        )

    async def beat(self) -> None:
        await self._api.heartbeat(self.run, port.HeartbeatRequest(epoch=1, grant=self._grant))

    async def report(self, *events: ev.Event) -> None:
        rows: tuple[tuple[str, int, dict[str, Any]], ...] = tuple(
            (event.TYPE, event.SCHEMA, ev.encode(event)) for event in events
        )
        request = port.ReportRequest(epoch=1, grant=self._grant, origin=1, first_seq=self._seq, events=rows)
        self._seq += len(rows)
        await self._api.report(self.run, request)
