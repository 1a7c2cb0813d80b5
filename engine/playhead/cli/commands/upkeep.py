"""Commands that look after an installation: doctor, reconcile."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli import options


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)
    app.command()(reconcile)


def doctor(
    docker_host: Annotated[
        str | None,
        typer.Option(
            "--docker-host",
            metavar="URL",
            help="Check this Docker engine. (default: that of DOCKER_HOST, or this machine's, if there is one)",
        ),
    ] = None,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="Check this Dask scheduler and its workers.")
    ] = None,
    module: Annotated[
        list[str] | None,
        typer.Option("--module", metavar="NAME", help="That Dask's workers should have; again for several."),
    ] = None,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Check Python, home, key, storage, log, server, agents, Docker and Dask, and say what to do about each trouble."""
    from playhead.cli.actions.doctor import examine
    from playhead.cli.examining.outside import Asked

    return examine(Asked(docker_host, dask, tuple(module or ())), home=home, server=server, as_json=json)


def reconcile(
    run: options.Run, server: options.Server = None, home: options.HomeDir = None, json: options.Json = False
) -> int:
    """Tell a log that was put back from an older copy what this run's journals hold. Until then no agent takes the run.

    Every journal is verified first; the next runner adopts what they hold and repeats none of it.
    """
    from playhead.cli.actions.reconcile import reconcile_run

    return reconcile_run(run, home=home, server=server, as_json=json)
