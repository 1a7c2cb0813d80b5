"""The doctor: each part looked at by itself, and what to do about what is wrong. Makes nothing and mends nothing."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.text import Text

from playhead.cli import presented
from playhead.cli.examining.home import home as home_and_storage
from playhead.cli.examining.installation import installation
from playhead.cli.examining.outside import Asked, outside
from playhead.cli.examining.server import log_and_server, server
from playhead.cli.examining.troubles import failed
from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json, stdout
from playhead.cli.place import Place
from playhead.errors import PlayheadError, UsageError
from playhead.home import Home
from playhead.ports.examination import Finding, Health
from playhead.settings import Settings


def examine(asked: Asked, *, home: Path | None, server: str | None, as_json: bool) -> int:
    """The exit code is 0 where nothing failed, 3 where nobody answers, and else 2. UsageError: modules without a cluster."""
    if asked.modules and asked.dask is None:
        raise UsageError("--module says what workers should have", hint="name their scheduler, too: --dask tcp://…")
    findings = asyncio.run(_examined(asked, home, server))
    if as_json:
        print_json(
            [{name: value for name, value in asdict(found).items() if name != "unreachable"} for found in findings]
        )
    else:
        for found in findings:
            _print(found)
    failures = [found for found in findings if found.health is Health.FAIL]
    return max(
        (ExitCode.NO_SERVER if found.unreachable else ExitCode.WRONG_USE for found in failures), default=ExitCode.GOOD
    )


async def _examined(asked: Asked, home: Path | None, server_url: str | None) -> list[Finding]:
    findings, storage_url = await _own(home, server_url)
    return [*installation(), *findings, *await outside(asked, storage_url)]


async def _own(home: Path | None, server_url: str | None) -> tuple[list[Finding], str | None]:
    """Home and server, as far as they can be looked at; and where storage is, as far as that is known."""
    try:
        settings = Settings.load({"home": home, "server": server_url, "token_file": presented.token_file.get()})
    except PlayheadError as error:
        return [failed("settings", error)], None
    if not settings.home.exists():
        text = f"{settings.home} is not there yet"
        findings = [Finding("home", Health.WARN, text, "the first command that needs it makes it")]
        if settings.server_url is not None:
            findings += [found async for found in server(settings.server_url, settings, None)]
        return findings, None
    try:
        place = Place(settings, Home.open(settings))
    except PlayheadError as error:
        return [failed("home", error)], None
    findings = home_and_storage(place)
    findings += [found async for found in log_and_server(place)]
    return findings, settings.storage_url


_STYLES: Final = {Health.OK: "green", Health.WARN: "yellow", Health.FAIL: "bold red"}


def _print(found: Finding) -> None:
    console = stdout()
    console.print(
        Text.assemble((f"{found.health:<5}", _STYLES[found.health]), (f"{found.part:<9}", "bold"), found.text),
        soft_wrap=True,
    )
    if found.todo:
        console.print(Text(f"{'':<14}{found.todo}", style="dim"), soft_wrap=True)
