"""Registering a flow: its code and configuration sealed into storage, its declared names told to the server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from playhead.cli import options
from playhead.cli.exits import ExitCode
from playhead.cli.moments import ago
from playhead.cli.output import print_json, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.tables import schedule_text
from playhead.client.loading import load_target
from playhead.client.registration import register
from playhead.core.events import SealedBy
from playhead.ports.server import FlowView


def register_flow(
    target: str, by: options.SealedBy | None, *, home: Path | None, server: str | None, as_json: bool
) -> int:
    subject = load_target(target)

    async def ask() -> FlowView:
        place = Place.of(home, server)
        async with place.client() as client:
            return await register(subject, client.api, place.home, sealed_by=SealedBy(by) if by else None)

    view = asyncio.run(ask())
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        _print(view)
    return ExitCode.GOOD


def _print(view: FlowView) -> None:
    facts = view.registered
    console = stdout()
    console.print(f"registered {view.flow}, sealed by {facts.sealed_by} as {facts.seal}", soft_wrap=True)
    if facts.schedule is not None:
        next_due = ago(view.next_due, datetime.now(UTC))
        console.print(f"  runs {schedule_text(facts.schedule)}, next {next_due}", soft_wrap=True)
    console.print(f"  playhead run {view.flow}", style="dim", soft_wrap=True)
