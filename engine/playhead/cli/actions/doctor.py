"""The doctor: each part looked at by itself, and what to do about what is wrong. Makes nothing and mends nothing."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from rich.text import Text

from playhead.cli import presented
from playhead.cli.actions.keys import source_of
from playhead.cli.exits import ExitCode, code_of
from playhead.cli.moments import span
from playhead.cli.output import print_json, stdout
from playhead.cli.place import Place
from playhead.client.http import HttpServer
from playhead.client.patience import Patience
from playhead.credentials import credential_for
from playhead.errors import PlayheadError
from playhead.home import Home
from playhead.log import source_of as store_source
from playhead.log import without_secrets
from playhead.ports.server import ServerApi
from playhead.settings import Settings

LITTLE_ROOM_BYTES: Final = 16 * 1024 * 1024  # a journal's largest batch, twice
MAX_CLOCK_SECONDS: Final = 2.0  # of difference, before times in tables mislead
SHOWN_PACKAGES: Final = ("playhead", "pydantic", "anyio", "aiohttp", "starlette", "uvicorn", "cloudpickle")


class Health(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """`todo` says what to do about it, where there is something. `code` is what the command exits with for a failure."""

    part: str
    health: Health
    text: str
    todo: str | None = None
    code: ExitCode = ExitCode.WRONG_USE


def examine(*, home: Path | None, server: str | None, as_json: bool) -> int:
    findings = asyncio.run(_examined(home, server))
    if as_json:
        print_json([{name: value for name, value in asdict(found).items() if name != "code"} for found in findings])
    else:
        for found in findings:
            _print(found)
    failed = [found.code for found in findings if found.health is Health.FAIL]
    return max(failed, default=ExitCode.GOOD)


async def _examined(home: Path | None, server: str | None) -> list[Finding]:
    findings = [_python(), _packages()]
    try:
        settings = Settings.load({"home": home, "server": server, "token_file": presented.token_file.get()})
    except PlayheadError as error:
        return [*findings, _failed("settings", error)]
    if not settings.home.exists():
        text = f"{settings.home} is not there yet"
        findings.append(Finding("home", Health.WARN, text, "the first command that needs it makes it"))
        if settings.server_url is None:
            return findings
        return findings + [found async for found in _server(settings.server_url, settings, None)]
    try:
        place = Place(settings, Home.open(settings))
    except PlayheadError as error:
        return [*findings, _failed("home", error)]
    findings += [_home(place), _key(place), _guarded("storage", lambda: _storage(place))]
    if settings.server_url is None:  # another's server has a store of its own
        findings.append(_guarded("store", lambda: _store(settings.store_url)))
    findings += [found async for found in _log_and_server(place)]
    return findings


def _python() -> Finding:
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.platform == "win32":
        return Finding("python", Health.FAIL, text, "run Playhead in WSL")
    return Finding("python", Health.OK, text)


def _packages() -> Finding:
    found: list[str] = []
    for name in SHOWN_PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return Finding("packages", Health.FAIL, f"{name} is not installed", "pip install playhead")
    return Finding("packages", Health.OK, ", ".join(found))


def _home(place: Place) -> Finding:
    path = place.home.path
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding("home", Health.FAIL, f"{path} cannot be written", "make it writable, or name another home")
    if path.stat().st_mode & 0o077:
        return Finding("home", Health.WARN, f"{path} can be entered by others", f"chmod 700 {path}")
    return Finding("home", Health.OK, str(path))


def _key(place: Place) -> Finding:
    return Finding("key", Health.OK, f"{place.home.keys.current.id}, {source_of(place.home)}")


def _storage(place: Place) -> Finding:
    storage = place.home.storage
    text = f"{storage.url}, id {storage.id}"
    parts = urlsplit(storage.url)
    if parts.scheme == "file":
        folder = unquote(parts.path)
        if not os.access(folder, os.W_OK | os.X_OK):
            todo = "make it writable for this user; a run whose storage cannot be written loses its runner"
            return Finding("storage", Health.FAIL, f"{text}: it cannot be written", todo)
        free = shutil.disk_usage(folder).free
        if free < LITTLE_ROOM_BYTES:
            todo = "free some space: runs that find none wait, and go on by themselves"
            return Finding("storage", Health.WARN, f"{text}: {free:,} bytes are left", todo)
    return Finding("storage", Health.OK, text)


def _store(url: str) -> Finding:
    """What the log is kept in, and whose code that is. Opens nothing."""
    source = store_source(url)
    if source.package is None:
        return Finding("store", Health.OK, f"{without_secrets(url)}, by the function {source.function}")
    return Finding("store", Health.OK, f"{without_secrets(url)}, by {source.package} {version(source.package)}")


async def _log_and_server(place: Place) -> AsyncGenerator[Finding]:
    url = place.server_url()
    if url is not None:
        async for found in _server(url, place.settings, place):
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
        yield _failed("log", error)


async def _server(url: str, settings: Settings, place: Place | None) -> AsyncGenerator[Finding]:
    try:
        credential = credential_for(url, settings) if settings.server_url is not None else None
    except PlayheadError as error:
        yield _failed("token", error)
        return
    async with HttpServer(url, patience=Patience(tries=2), token=credential) as api:
        try:
            before = time.time()
            info = await api.info()
            after = time.time()
        except PlayheadError as error:
            yield _failed("server", error)
            return
        yield Finding("server", Health.OK, f"{url}, version {info.version}")
        yield Finding("log", Health.OK, f"{info.log_id}, {info.position:,} events")
        apart = info.now / 1_000_000 - (before + after) / 2
        if abs(apart) > MAX_CLOCK_SECONDS:
            todo = "set both by NTP; nothing breaks, but times are shown apart"
            yield Finding("clock", Health.WARN, f"the server's differs by {span(abs(apart))}", todo)
        else:
            yield Finding("clock", Health.OK, f"within {span(abs(apart) + (after - before) / 2)} of the server's")
        yield await _agents(api, place)


async def _agents(api: ServerApi, place: Place | None) -> Finding:
    working = [agent for agent in await api.agents() if agent.state == "joined"]
    if not working:
        return Finding("agents", Health.WARN, "none has joined: runs wait", "playhead agent local")
    names = ", ".join(f"{agent.agent} ({agent.kind})" for agent in working)
    key_id = place.home.keys.current.id if place else None
    if key_id is not None and all(key_id not in agent.key_ids for agent in working):
        todo = "give an agent this home's key: PLAYHEAD_KEY, or the same home"
        return Finding("agents", Health.WARN, f"{names}: none has this home's key {key_id}", todo)
    return Finding("agents", Health.OK, names)


def _guarded(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except PlayheadError as error:
        return _failed(part, error)


def _failed(part: str, error: PlayheadError) -> Finding:
    return Finding(part, Health.FAIL, error.message, error.hint, code_of(error))


_STYLES: Final = {Health.OK: "green", Health.WARN: "yellow", Health.FAIL: "bold red"}


def _print(found: Finding) -> None:
    console = stdout()
    console.print(
        Text.assemble((f"{found.health:<5}", _STYLES[found.health]), (f"{found.part:<9}", "bold"), found.text),
        soft_wrap=True,
    )
    if found.todo:
        console.print(Text(f"{'':<14}{found.todo}", style="dim"), soft_wrap=True)
