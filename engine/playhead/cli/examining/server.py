"""A server, looked at from here: whether it answers and knows who asks, its version and clock, its log and its agents."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Final

from playhead import __version__
from playhead.cli.examining.troubles import failed
from playhead.cli.moments import span
from playhead.cli.place import Place
from playhead.client.http import HttpServer
from playhead.client.patience import Patience
from playhead.credentials import credential_for
from playhead.errors import AccessDenied, PlayheadError
from playhead.ports.examination import Finding, Health
from playhead.ports.server import AgentView
from playhead.settings import Settings

MAX_CLOCK_SECONDS: Final = 2.0  # of difference, before times in tables mislead
SILENT_SECONDS: Final = 15.0  # three beats of an agent: by then a server counts on it no more
MAX_NAMED: Final = 5  # agents in a line


async def log_and_server(place: Place) -> AsyncGenerator[Finding]:
    """The server of this place; its log here, where none serves it."""
    url = place.server_url()
    if url is not None:
        async for found in server(url, place.settings, place):
            yield found
        return
    yield Finding("server", Health.WARN, "none serves this home", "flows run here; for agents: playhead up")
    there = any((place.home.path / name).exists() for name in ("log.db", "log.db-wal"))
    if not there and place.settings.store_url.startswith("sqlite:"):
        yield Finding("log", Health.OK, "none yet; the first run makes it")
        return
    try:
        async with place.client() as client:
            info = await client.api.info()
        yield Finding("log", Health.OK, f"{info.log_id}, {info.position:,} events")
    except PlayheadError as error:
        yield failed("log", error)


async def server(url: str, settings: Settings, place: Place | None) -> AsyncGenerator[Finding]:
    try:
        credential = credential_for(url, settings) if settings.server_url is not None else None
    except PlayheadError as error:
        yield failed("token", error)
        return
    async with HttpServer(url, patience=Patience(tries=2), token=credential) as api:
        try:
            before = time.time()
            info = await api.info()
            after = time.time()
            agents = await api.agents()
        except PlayheadError as error:
            yield failed("token" if isinstance(error, AccessDenied) else "server", error)
            return
        yield _version(url, info.version)
        if credential is not None:
            yield Finding("token", Health.OK, "the server takes it")
        yield Finding("log", Health.OK, f"{info.log_id}, {info.position:,} events")
        yield _clock(info.now / 1_000_000 - (before + after) / 2, (after - before) / 2)
        yield _agents(agents, place)


def _version(url: str, there: str) -> Finding:
    if there == __version__:
        return Finding("server", Health.OK, f"{url}, version {there}")
    todo = "give both the same version, the server first: a newer one knows what older clients and agents say"
    return Finding("server", Health.WARN, f"{url}, version {there}; here it is {__version__}", todo)


def _clock(apart: float, doubt: float) -> Finding:
    if abs(apart) > MAX_CLOCK_SECONDS:
        todo = "set both by NTP; nothing breaks, but times are shown apart"
        return Finding("clock", Health.WARN, f"the server's differs by {span(abs(apart))}", todo)
    return Finding("clock", Health.OK, f"within {span(abs(apart) + doubt)} of the server's")


def _agents(agents: tuple[AgentView, ...], place: Place | None) -> Finding:
    joined = [agent for agent in agents if agent.state == "joined"]
    if not joined:
        return Finding("agents", Health.WARN, "none has joined: runs wait", "playhead agent local")
    working = [agent for agent in joined if (agent.last_contact_seconds or SILENT_SECONDS) < SILENT_SECONDS]
    if not working:
        todo = "start them again, or look whether they reach the server"
        return Finding("agents", Health.WARN, f"{_named(joined)}: none was heard of lately", todo)
    key_id = place.home.keys.current.id if place else None
    if key_id is not None and all(key_id not in agent.key_ids for agent in working):
        todo = "give an agent this home's key: PLAYHEAD_KEY, or the same home"
        return Finding("agents", Health.WARN, f"{_named(working)}: none has this home's key {key_id}", todo)
    others = [agent for agent in working if agent.version != __version__]
    if others:
        todo = "give all the same version: what is sealed here is opened there"
        versions = ", ".join(f"{agent.agent} has version {agent.version}" for agent in others[:MAX_NAMED])
        return Finding("agents", Health.WARN, f"{versions}; here it is {__version__}", todo)
    return Finding("agents", Health.OK, _named(working))


def _named(agents: list[AgentView]) -> str:
    more = len(agents) - MAX_NAMED
    named = ", ".join(f"{agent.agent} ({agent.kind})" for agent in agents[:MAX_NAMED])
    return f"{named} and {more} more" if more > 0 else named
