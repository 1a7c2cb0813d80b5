"""A run's log lines, read from the user's storage: those that are there, or those that come as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json_line, stderr, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.logs import log_line
from playhead.client.client import Client
from playhead.client.journals import claims_of
from playhead.client.logs import LogLine, follow_logs, read_logs
from playhead.core.views import RunView
from playhead.errors import NotFound


def print_logs(
    text: str, *, task: str | None, follow: bool, home: Path | None, server: str | None, as_json: bool
) -> int:
    async def ask() -> int:
        place = Place.of(home, server)
        async with place.client() as client:
            run = await client.find_run(text)
            view = await client.run(run)
            if task is not None and not (follow and not view.state.terminal):
                _refuse_unknown_task(view, task)
            lines = follow_logs(client.api, run, place.home, task=task) if follow else _read(client, view, place, task)
            printed = 0
            async with aclosing(lines):
                async for line in lines:
                    _print(line, as_json=as_json)
                    printed += 1
        if not printed and not as_json:
            stderr().print("nothing was logged", style="dim")
        return ExitCode.GOOD

    return asyncio.run(ask())


async def _read(client: Client, view: RunView, place: Place, task: str | None) -> AsyncGenerator[LogLine]:
    claims = await claims_of(client.api, view)
    for line in await asyncio.to_thread(lambda: list(read_logs(view, claims, place.home, task=task))):
        yield line


def _refuse_unknown_task(view: RunView, task: str) -> None:
    """An empty answer would say that the task was silent. A run at work may still ask for the task, so nobody can tell then."""
    if any(row.key == task for row in view.tasks):
        return
    wide = next((mapped for mapped in view.maps if mapped.key == task), None)
    hint = f"it is a map: its tasks are {task}.0 to {task}.{wide.width - 1}" if wide else f"playhead show {view.run_id}"
    raise NotFound("task", task, hint=hint)


def _print(line: LogLine, *, as_json: bool) -> None:
    if as_json:
        print_json_line(asdict(line))
    else:
        stdout().print(log_line(line), soft_wrap=True)
