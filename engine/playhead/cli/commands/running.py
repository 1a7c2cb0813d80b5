"""Commands that make runs happen: register, run, cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli import options


def add_to(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(register)
    app.command()(cancel)


def run(
    target: options.Target,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--parameter", metavar="NAME=VALUE", help="A parameter; VALUE is JSON, else text, or @FILE."
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show live progress; Ctrl-C leaves the run to itself.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the run's id and do not wait for its end.")] = False,
    embedded: Annotated[bool, typer.Option("--embedded", help="Run it in this process, with no server.")] = False,
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="NAME", help="With the parameters of this preset of a registered flow."),
    ] = None,
    encrypt: options.Encrypt = False,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Run a flow and print its result.

    With a server an agent runs it; without one, or with --embedded, it runs here. Exit code 1: it failed; 4: it was cancelled
    or crashed.
    """
    from playhead.cli.actions.run import Asked, run_flow

    asked = Asked(
        target=target, parameters=tuple(parameters or ()), preset=preset, watch=watch, wait=not no_wait, embedded=embedded,
        encrypt=encrypt,
    )  # fmt: skip
    return run_flow(asked, home=home, server=server, as_json=json)


def register(
    target: options.Target,
    by: Annotated[
        options.SealedBy | None, typer.Option("--by", help="How the code is kept. (default: as it was named)")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help="Sign a set of parameters, for runs without the key.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--parameter", metavar="NAME=VALUE", help="A parameter of the preset. (default: the flow's own)"
        ),
    ] = None,
    drop_presets: Annotated[bool, typer.Option("--drop-presets", help="Take back the presets that it has.")] = False,
    encrypt: options.Encrypt = False,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Seal a flow into storage and make it known to the server, so that it can be run by name and on its schedule."""
    from playhead.cli.actions.register import Wanted, register_flow

    wanted = Wanted(
        target=target,
        by=by,
        preset=preset,
        parameters=tuple(parameters or ()),
        drop_presets=drop_presets,
        encrypt=encrypt,
    )
    return register_flow(wanted, home=home, server=server, as_json=json)


def cancel(
    run: options.Run, server: options.Server = None, home: options.HomeDir = None, json: options.Json = False
) -> int:
    """Ask a run to end. It may still take the time that its tasks need to stop."""
    from playhead.cli.actions.look import cancel_run

    return cancel_run(run, home=home, server=server, as_json=json)
