"""Agents as a server knows them: their list, and asking one to drain. Runs none (`serve` does)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playhead.cli.exits import ExitCode
from playhead.cli.moments import span
from playhead.cli.output import print_json, stderr, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.tables import agents_table
from playhead.client.client import Client
from playhead.core.events import AgentLeft
from playhead.core.names import agent_stream
from playhead.ports.server import AgentView, EventFilter


def list_agents(*, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            agents = await client.agents()
        if as_json:
            print_json([agent.model_dump(mode="json") for agent in agents])
        elif agents:
            stdout().print(agents_table(agents))
        else:
            hint = "no agent has joined yet: playhead up, or playhead agent local"
            stderr().print(hint, style="dim", soft_wrap=True)
        return ExitCode.GOOD

    return asyncio.run(ask())


def drain_agent(name: str, *, wait: bool, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            cursor = (await client.api.info()).cursor
            await client.drain(name)
            view = await _agent(client, name)
            if wait and view.state != "left":
                if not as_json:
                    stderr().print(_told(view), style="dim", soft_wrap=True)
                await _left(client, name, cursor)
                view = await _agent(client, name)
        if as_json:
            print_json(view.model_dump(mode="json"))
        else:
            stdout().print(_told(view), soft_wrap=True)
        return ExitCode.GOOD

    return asyncio.run(ask())


async def _agent(client: Client, name: str) -> AgentView:
    return next(agent for agent in await client.agents() if agent.agent == name)


async def _left(client: Client, name: str, cursor: str) -> None:
    which = EventFilter(streams=(agent_stream(name),), types=(AgentLeft.TYPE,))
    async with client.events(cursor=cursor, which=which) as pages:
        async for page in pages:
            if page.events:
                return


def _told(view: AgentView) -> str:
    if view.state == "left":
        return f"agent {view.agent} has left"
    runs = len(view.runs)
    ends = f"when its {runs} run{'s have' if runs > 1 else ' has'} ended" if runs else "now, as it has none"
    heard = view.last_contact_seconds
    silent = "no server has heard of it" if heard is None else f"last heard of {span(heard)} ago"
    return f"agent {view.agent} drains: it takes no more runs, and ends {ends} ({silent})"
