"""Commands that tell a run's story: events, logs, report, replay."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli import options


def add_to(app: typer.Typer) -> None:
    for command in (events, logs, report, replay):
        app.command()(command)


def events(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run's id or its beginning, @last, @last-failed, or FLOW@last."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Events of all flows, runs and agents.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come, until the run ends.")] = False,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Print the events of a run, or of everything, oldest first."""
    from playhead.cli.actions.history import print_events

    return print_events(run, everything=everything, follow=follow, home=home, server=server, as_json=json)


def logs(
    run: options.Run,
    task: Annotated[str | None, typer.Option("--task", metavar="KEY", help="Only lines of this task.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come, until the run ends.")] = False,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Print what a run's code has logged, read from your storage."""
    from playhead.cli.actions.logs import print_logs

    return print_logs(run, task=task, follow=follow, home=home, server=server, as_json=json)


def report(
    run: options.Run,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Print the HTML page that a run's executor left at its end, where it was asked for one: > report.html."""
    from playhead.cli.actions.report import print_report

    return print_report(run, home=home, server=server, as_json=json)


def replay(
    run: options.Run,
    at: Annotated[
        int | None, typer.Option("--at", metavar="VERSION", min=1, help="Stop after this event. (default: the last)")
    ] = None,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Fold a run's events again, here, and show the run as it was at any of them."""
    from playhead.cli.actions.history import replay_run

    return replay_run(run, at=at, home=home, server=server, as_json=json)
