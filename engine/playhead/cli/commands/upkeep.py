"""Commands that look after an installation: doctor, reconcile."""

from __future__ import annotations

import typer

from playhead.cli import options


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)
    app.command()(reconcile)


def doctor(server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """Check Python, home, key, storage, log, server and agents, and say what to do about each trouble."""
    from playhead.cli.actions.doctor import examine

    return examine(home=home, server=server, as_json=json)


def reconcile(
    run: options.Run, server: options.Server = None, home: options.HomeDir = None, json: options.Json = False
) -> int:
    """Tell a log that was put back from an older copy what this run's journals hold. Until then no agent takes the run.

    Every journal is verified first; the next runner adopts what they hold and repeats none of it.
    """
    from playhead.cli.actions.reconcile import reconcile_run

    return reconcile_run(run, home=home, server=server, as_json=json)
