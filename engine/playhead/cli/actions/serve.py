"""The commands that go on until they are told to end: a server on this home, an agent beside it, or an agent alone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from playhead import __version__
from playhead.background import background
from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json_line, stderr, stdout
from playhead.cli.place import Place, noted, read_note, served_at
from playhead.core.events import SealedBy
from playhead.errors import UsageError
from playhead.home import Home
from playhead.hosting import HomeLock, own
from playhead.log import without_secrets
from playhead.ports.server import ServerApi
from playhead.server.app import create_app
from playhead.server.descriptors import ask_for_more
from playhead.server.serve import DEFAULT_PORT, reaches_others, serve

if TYPE_CHECKING:
    from playhead.agent.base import Agent
    from playhead.agent.rules import Allowed
    from playhead.cli import options  # brings Typer

LOCK_SECONDS: Final = 3.0  # a command that only looks holds the home for a moment
RETRY_SECONDS: Final = 0.05
EVERY_AGENTS: Final = ("home", "name", "labels", "capacity", "rules", "storage", "stop_runners")  # settings, set below


@dataclass(frozen=True)
class Address:
    host: str
    port: int | None  # None: the usual one
    allowed_hosts: tuple[str, ...] = ()  # none: those of the settings
    require_tokens: bool = False  # also where only this machine can reach it


@dataclass(frozen=True)
class AgentWanted:
    labels: tuple[str, ...] = ()
    capacity: int | None = None
    name: str | None = None
    allowed: Allowed | None = None  # None: whatever is signed
    kind: str = "local"
    settings: Mapping[str, object] = field(default_factory=dict[str, object])  # what only this kind has


def allowed(
    flows: Collection[str] | None, code: Collection[options.SealedBy] | None, modules: Collection[str] | None
) -> Allowed | None:
    """The lists, if one of them was given."""
    if not (flows or code or modules):
        return None
    from playhead.agent.rules import Allowed  # of no use to a server alone

    return Allowed(flows=flows or (), code=[SealedBy(kind) for kind in code or ()], modules=modules or ())


def environment_of(given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` for the value that it has here. UsageError: it has none here."""
    environment: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals and name not in os.environ:
            raise UsageError(f"--env {name}: there is no such variable here", hint="write NAME=VALUE, or set it")
        environment[name] = value if equals else os.environ[name]
    return environment


def settings_of(given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` of agents whose options this program does not know. UsageError: it is not that, or it is an option that all have."""
    settings: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--set {each}: that is no setting", hint="write NAME=VALUE")
        if name in EVERY_AGENTS:
            raise UsageError(
                f"--set {each}: every agent has that", hint="see the options of its command: --help lists them"
            )
        settings[name] = value
    return settings


def serve_home(
    address: Address, agent: AgentWanted | None, *, home: Path | None, store: str | None = None, as_json: bool
) -> int:
    """Serve this home's log by HTTP, with an agent if one is wanted, until SIGINT or SIGTERM."""
    _refuse_secrets(store)
    place = Place.of(home, allowed_hosts=address.allowed_hosts, store=store)
    ask_for_more()
    _log_to_stderr()
    asyncio.run(_serve_home(place, address, agent, as_json=as_json))
    return ExitCode.GOOD


def _refuse_secrets(store: str | None) -> None:
    """UsageError: the URL holds what every user of this machine sees in the list of its processes."""
    if store is not None and without_secrets(store) != store:
        raise UsageError(
            f"--store {without_secrets(store)} holds a password, and everybody on this machine may read a command line",
            hint="put the URL into PLAYHEAD_STORE or the home's config.toml; for PostgreSQL, the password into a file (PGPASSFILE)",
        )


def serve_agent(wanted: AgentWanted, *, once: bool, home: Path | None, server: str | None, as_json: bool) -> int:
    """Serve the runs of a server elsewhere, until SIGINT, SIGTERM or the end of its draining. Runners at work go on without the agent.

    `once`: drain when nothing is left to take; the exit code is that of the run which ended worst.
    """
    place = Place.of(home, server)
    url = place.required_server_url()
    _log_to_stderr()
    return asyncio.run(_serve_agent(place, url, wanted, once=once, as_json=as_json))


async def _serve_home(place: Place, address: Address, wanted: AgentWanted | None, *, as_json: bool) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(own(place.home, await _taken(place.home)))
            port = DEFAULT_PORT if address.port is None else address.port
            names = place.settings.allowed_hosts
            asked = address.require_tokens or place.settings.require_tokens
            guarded = asked or reaches_others(address.host, names)
            app = create_app(api, require_tokens=guarded)
            url = await stack.enter_async_context(serve(app, address.host, port, allowed_hosts=names))
            agent = await _attached(stack, place, api, url, wanted, stop_runners=True) if wanted else None
            # Whoever may open the home may do all with its log, and needs no token for that.
            stack.enter_context(noted(place.home, f"unix://{place.home.socket_path}" if guarded else url))
            _announce(place, url, agent, serves=True, as_json=as_json)
            await _told_to_end(signals, as_json=as_json)


async def _serve_agent(place: Place, url: str, wanted: AgentWanted, *, once: bool, as_json: bool) -> int:
    from playhead.cli.actions.once import tell_pass
    from playhead.client.http import HttpServer  # brings aiohttp, of no use to a server

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(HttpServer(url, token=place.credential()))
            await api.info()  # nobody there is an error now; later the agent waits for its server to come back
            agent = await _attached(stack, place, api, url, wanted, stop_runners=False)
            _announce(place, url, agent, serves=False, as_json=as_json)
            async with background() as tasks:
                tasks.start_soon(_end_when_told, signals, tasks.cancel_scope, as_json)
                if once:
                    return await tell_pass(api, await agent.once(), as_json=as_json)
                await agent.left()
                return ExitCode.GOOD
    return ExitCode.INTERRUPTED if once else ExitCode.GOOD


async def _attached(
    stack: AsyncExitStack, place: Place, api: ServerApi, url: str, wanted: AgentWanted, *, stop_runners: bool
) -> Agent:
    from playhead.agent.kinds import agent_of_kind  # of no use to a server alone

    agent = agent_of_kind(
        wanted.kind,
        home=place.home,
        name=wanted.name,
        labels=wanted.labels,
        capacity=wanted.capacity,
        rules=() if wanted.allowed is None else (wanted.allowed,),
        storage=place.home.storage,
        stop_runners=stop_runners,
        **wanted.settings,
    )
    return await stack.enter_async_context(agent.attach(api, url))


async def _taken(home: Home) -> HomeLock:
    """The home's lock. UsageError: another process has it, and keeps it."""
    lock = HomeLock(home.lock_path)
    with anyio.move_on_after(LOCK_SECONDS):
        while not lock.try_take():
            url = served_at(home)
            if url is not None:
                note = read_note(home)
                raise UsageError(
                    f"a server serves the home {home.path} already, at {url}"
                    + (f" (process {note.pid})" if note else ""),
                    hint="use that one, end it first, or name another home with --home",
                )
            await anyio.sleep(RETRY_SECONDS)
        return lock
    raise UsageError(
        f"a program that runs a flow, or follows one, has the home {home.path} open",
        hint="wait for its end, or name another home with --home",
    )


async def _told_to_end(signals: AsyncIterator[signal.Signals], *, as_json: bool) -> None:
    async for number in signals:
        if not as_json:
            stderr().print(f"{signal.Signals(number).name}: ending", style="dim")
        return


async def _end_when_told(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope, as_json: bool) -> None:
    await _told_to_end(signals, as_json=as_json)
    scope.cancel()


def _announce(place: Place, url: str, agent: Agent | None, *, serves: bool, as_json: bool) -> None:
    """`serves`: the log is opened here, and not elsewhere."""
    store = without_secrets(place.settings.store_url) if serves else None
    if as_json:
        note: dict[str, Any] = {"url": url, "pid": os.getpid(), "home": str(place.home.path)}
        print_json_line(note | {"agent": agent.name if agent else None, "store": store})
        return
    rows = [
        ("server", url),
        ("home", str(place.home.path)),
        *([("log", store)] if store is not None else []),
        ("agent", agent.name if agent else "none: playhead agent local"),
    ]
    from rich.text import Text  # for people only

    console = stdout()
    console.print(Text(f"Playhead {__version__}", style="bold"))
    for name, value in rows:
        console.print(Text.assemble((f"  {name:<8}", "dim"), value), soft_wrap=True)
    console.print(Text("Ctrl-C ends it", style="dim"))
    sys.stdout.flush()


def _log_to_stderr() -> None:
    """What the parts say of themselves; only this command's own process has a log."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("playhead").setLevel(logging.INFO)
