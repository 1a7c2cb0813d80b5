"""Commands that show what there is: flows, runs, agents, show, why."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli import options


def add_to(app: typer.Typer) -> None:
    for command in (show, why, runs, flows, agents):
        app.command()(command)


def flows(server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """List the registered flows."""
    from playhead.cli.actions.look import list_flows

    return list_flows(home=home, server=server, as_json=json)


def runs(
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only runs in this state; may be given again.")
    ] = None,
    flow: Annotated[str | None, typer.Option("--flow", help="Only runs of this flow.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only runs made since: a span such as 2h, or an ISO time.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the newest.")] = 50,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """List runs, newest first."""
    from playhead.cli.actions.look import Wanted, list_runs

    wanted = Wanted(states=tuple(state or ()), flow=flow, since=since, limit=limit)
    return list_runs(wanted, home=home, server=server, as_json=json)


def agents(server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """List the agents that have joined: what each has room for, and what it runs."""
    from playhead.cli.actions.agents import list_agents

    return list_agents(home=home, server=server, as_json=json)


def show(
    run: options.Run,
    failures: Annotated[bool, typer.Option("--failures", help="Print tracebacks, read from your storage.")] = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="Print who did what: server, agent, runner and executor, a lane each.")
    ] = False,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Show one run and its tasks."""
    from playhead.cli.actions.look import show_run

    return show_run(run, failures=failures, steps=steps, home=home, server=server, as_json=json)


def why(
    run: options.Run,
    task: Annotated[str | None, typer.Option("--task", help="Only this task of it, by its key.")] = None,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Say what a run waits for, and what would help: its time, an agent and what each lacks, its tasks."""
    from playhead.cli.actions.why import say_why

    return say_why(run, task=task, home=home, server=server, as_json=json)
