"""Commands that look after an installation: doctor, key show."""

from __future__ import annotations

import typer

from playhead.cli import options


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)
    key = typer.Typer(help="The key of this home, which signs all that is run.", no_args_is_help=True)
    key.command("show")(key_show)
    key.callback()(_only_groups)
    app.add_typer(key, name="key")


def doctor(server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """Check Python, home, key, storage, log, server and agents, and say what to do about each trouble."""
    from playhead.cli.actions.doctor import examine

    return examine(home=home, server=server, as_json=json)


def key_show(home: options.HomeDir = None, json: options.Json = False) -> int:
    """Print the key's id and where it comes from; never the key itself."""
    from playhead.cli.actions.doctor import show_key

    return show_key(home=home, as_json=json)


def _only_groups() -> None:
    """Makes `key` a group although it has one command so far."""
