"""Registering a flow: its code and configuration sealed into storage, its declared names told to the server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from playhead.cli import options
from playhead.cli.exits import ExitCode
from playhead.cli.given import parameters_of
from playhead.cli.moments import ago
from playhead.cli.output import print_json, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.tables import schedule_text
from playhead.client.loading import load_target
from playhead.client.presets import Presets
from playhead.client.registration import register
from playhead.core.events import SealedBy
from playhead.errors import UsageError
from playhead.ports.server import FlowView


@dataclass(frozen=True)
class Wanted:
    """The command, as it was given."""

    target: str
    by: options.SealedBy | None = None
    preset: str | None = None
    parameters: tuple[str, ...] = ()
    drop_presets: bool = False
    encrypt: bool = False

    def presets(self) -> Presets | None:
        """None: nothing was said of them."""
        if self.parameters and self.preset is None:
            raise UsageError(
                "parameters belong to a preset when a flow is registered", hint="name it: --preset NAME -p NAME=VALUE"
            )
        if self.preset is None and not self.drop_presets:
            return None
        signed = {} if self.preset is None else {self.preset: parameters_of(self.parameters)}
        return Presets(signed=signed, from_text=True, drop=self.drop_presets)


def register_flow(wanted: Wanted, *, home: Path | None, server: str | None, as_json: bool) -> int:
    presets = wanted.presets()
    subject = load_target(wanted.target)
    by = SealedBy(wanted.by) if wanted.by else None

    async def ask() -> FlowView:
        place = Place.of(home, server, encrypt=wanted.encrypt)
        async with place.client() as client:
            return await register(subject, client.api, place.home, sealed_by=by, presets=presets)

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
    for preset in facts.presets or ():
        console.print(f"  preset {preset.name}: runs of it can be asked for without the key", soft_wrap=True)
    console.print(f"  playhead run {view.flow}", style="dim", soft_wrap=True)
