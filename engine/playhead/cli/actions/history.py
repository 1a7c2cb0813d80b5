"""A run's story: its events, and its replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.text import Text

from playhead.cli.actions.look import run_json
from playhead.cli.exits import ExitCode
from playhead.cli.following import all_events, run_events
from playhead.cli.output import print_json, print_json_line, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.events import event_json, event_line
from playhead.cli.rendering.run import run_page
from playhead.client.client import Client
from playhead.core.replay import replay
from playhead.core.views import run_view
from playhead.errors import NotFound, UsageError
from playhead.ports.store import Recorded

MAX_SHOWN: Final = 60  # events that `replay` prints up to the moment it stops at; `events` prints all


def print_events(
    text: str | None, *, everything: bool, follow: bool, home: Path | None, server: str | None, as_json: bool
) -> int:
    if (text is None) == (not everything):
        raise UsageError("the events of what?", hint="give a RUN, or --all for the whole log")

    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            await _print_pages(await _pages(client, text, follow=follow), with_stream=everything, as_json=as_json)
        return ExitCode.GOOD

    return asyncio.run(ask())


def replay_run(text: str, *, at: int | None, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            run = await client.find_run(text)
            history = [event async for event in client.history(run)]
        version = len(history) if at is None else at
        if version > len(history):
            raise NotFound("version", str(at), hint=f"run {run} has the versions 1 to {len(history)}")
        state = replay(history[:version])
        assert state is not None, "a run without events was found"
        view = run_view(state)
        if as_json:
            print_json(run_json(view))
            return ExitCode.GOOD
        console = stdout()
        for line in _story(history, version):
            console.print(line, soft_wrap=True)
        console.print()
        console.print(run_page(view, datetime.fromisoformat(_moment(history, version))))
        return ExitCode.GOOD

    return asyncio.run(ask())


def _story(history: list[Recorded], version: int) -> list[Text]:
    """The events up to the version, the marker behind it, and how many come after."""
    shown = history[max(0, version - MAX_SHOWN) : version]
    lines = [event_line(event, with_stream=False) for event in shown]
    if len(shown) < version:
        lines.insert(0, Text(f"… {version - len(shown):,} earlier events", style="dim"))
    after = len(history) - version
    more = f", {after:,} more came after it" if after else ", the last"
    lines.append(Text(f"▶ the run at version {version}{more}", style="bold cyan"))
    return lines


def _moment(history: list[Recorded], version: int) -> str:
    return datetime.fromtimestamp(history[version - 1].recorded_at / 1_000_000, UTC).isoformat()


async def _pages(client: Client, text: str | None, *, follow: bool) -> AsyncIterable[list[Recorded]]:
    if text is None:
        return all_events(client.api, follow=follow)
    run = await client.find_run(text)
    return run_events(client.api, run) if follow else _history(client, run)


async def _history(client: Client, run: str) -> AsyncIterable[list[Recorded]]:
    async for event in client.history(run):
        yield [event]


async def _print_pages(pages: AsyncIterable[list[Recorded]], *, with_stream: bool, as_json: bool) -> None:
    console = stdout()
    async for page in pages:
        for event in page:
            if as_json:
                print_json_line(event_json(event))
            else:
                console.print(event_line(event, with_stream=with_stream), soft_wrap=True)
