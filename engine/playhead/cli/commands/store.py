"""Commands over event stores: check."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli import options

Url = Annotated[
    str, typer.Argument(metavar="URL", help="A store: sqlite:///path, postgresql://..., or module:factory of your own.")
]


def add_to(app: typer.Typer) -> None:
    store = typer.Typer(help="Event stores: what a log is kept in.", no_args_is_help=True)
    for command in (check,):
        store.command()(command)
    app.add_typer(store, name="store")


def check(
    url: Url,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this check; again for several.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Try whether a store keeps what the engine relies on. It writes events of its own there: give it an empty place."""
    from playhead.cli.actions.store_check import check_url

    return check_url(url, only=only, as_json=json)
