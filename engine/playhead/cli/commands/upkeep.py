"""The command that looks after an installation: doctor."""

from __future__ import annotations

import typer

from playhead.cli import options


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """Check Python, home, key, storage, log, server and agents, and say what to do about each trouble."""
    from playhead.cli.actions.doctor import examine

    return examine(home=home, server=server, as_json=json)
