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
    quick: Annotated[
        bool, typer.Option("--quick", help="A long log of 20,000 events, not 100,000, and fewer kills.")
    ] = False,
    second: Annotated[
        str | None,
        typer.Option(
            "--second",
            metavar="URL",
            help="An empty place that a copy of the log goes to, for a store that can restore. (default: another {tmp})",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of what is drawn, as a finding names it. (default: a new one)")
    ] = None,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Also on a log that holds events of somebody's, and keeps the checks' as well."),
    ] = False,
    json: options.Json = False,
) -> int:
    """Try whether a store keeps what the engine relies on, check by check. Exit 1: it does not.

    The checks write events of their own, which stay: give an empty place. {tmp} in a URL stands for a fresh temporary folder, which is
    removed at the end: 'sqlite://{tmp}/log.db'.
    """
    from playhead.cli.actions.store_check import check_url

    return check_url(url, only=only, quick=quick, second=second, seed=seed, anyway=anyway, as_json=json)
