"""Commands over this home's keys: show, export, import, rotate, reseal, forget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from playhead.cli import options

KeyId = Annotated[str, typer.Argument(metavar="ID", help="A key's id, or its beginning.")]


def add_to(app: typer.Typer) -> None:
    key = typer.Typer(help="The keys of this home, which sign all that is run.", no_args_is_help=True)
    for command in (show, export, rotate, reseal, forget):
        key.command()(command)
    key.command("import")(import_)
    app.add_typer(key, name="key")


def show(home: options.HomeDir = None, json: options.Json = False) -> int:
    """Print the ids of the keys, and where they are kept; never a key itself."""
    from playhead.cli.actions.keys import show_keys

    return show_keys(home=home, as_json=json)


def export(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A new file, which only you may read.")
    ] = None,
    to_stdout: Annotated[bool, typer.Option("--print", help="Print the keys themselves.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", metavar="ID", help="Only this key. (default: the whole ring)")
    ] = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Write the keys to a file, or print them. Whoever has them can read and sign everything of this home."""
    from playhead.cli.actions.keys import export_keys

    return export_keys(out=out, to_stdout=to_stdout, only=only, home=home, as_json=json)


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What `playhead key export` wrote; - reads it from stdin.")
    ],
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="This home goes on signing with the key that it has.")
    ] = False,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Take keys into this home. It signs with the first of them from then on; the keys that it had still verify.

    Agents of this home at work use them without a restart.
    """
    from playhead.cli.actions.keys import import_keys

    return import_keys(file, verify_only=verify_only, home=home, as_json=json)


def rotate(
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Make a new key, sign with it from now on, and seal the registered flows anew with it.

    Older keys still verify. Runs that are there go on with the key that they were asked for with. Agents of this home use the
    new key without a restart; give it to those elsewhere with export and import.
    """
    from playhead.cli.actions.keys import rotate_key

    return rotate_key(home=home, server=server, as_json=json)


def reseal(server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """Seal the registered flows anew with the key in use, where a rotation was cut short or a key was imported."""
    from playhead.cli.actions.keys import reseal_flows

    return reseal_flows(home=home, server=server, as_json=json)


def forget(
    key: KeyId,
    lose_results: Annotated[
        bool, typer.Option("--lose-results", help="Also if runs that have ended can then no longer be read.")
    ] = False,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Remove an older key from this home. Refused while a registered flow or a run that has not ended needs it."""
    from playhead.cli.actions.keys import forget_key

    return forget_key(key, lose_results=lose_results, home=home, server=server, as_json=json)
