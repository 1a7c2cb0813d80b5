"""Commands over event stores: check, info, verify, copy, backup, compact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from playhead.cli import options

Url = Annotated[
    str, typer.Argument(metavar="URL", help="A store: sqlite:///path, postgresql://..., or module:factory of your own.")
]
Log = Annotated[
    str | None,
    typer.Argument(metavar="[URL]", help="A log: sqlite:///path, postgresql://... (default: this home's)"),
]


def add_to(app: typer.Typer) -> None:
    store = typer.Typer(help="Event stores: what a log is kept in.", no_args_is_help=True)
    for command in (check, info, verify, copy, backup, compact):
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


def info(
    url: Log = None,
    exact: Annotated[bool, typer.Option("--exact", help="Count everything, however long that takes.")] = False,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Show what a log holds: its id, head and size, events by type, runs by state. A server may be at work on it."""
    from playhead.cli.actions.store_upkeep import info, url_of

    return info(url_of(url, home), exact=exact, as_json=json)


def verify(url: Log = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """Look through a whole log: order, versions, every event, every run's story, the hash chain. Exit 1: something is wrong."""
    from playhead.cli.actions.store_upkeep import url_of, verify_log

    return verify_log(url_of(url, home), as_json=json)


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The log to copy.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="An empty store, or what an interrupted copy left.")],
    json: options.Json = False,
) -> int:
    """Copy a log into another store, to go on there. Stop its server first: what it writes meanwhile is not copied."""
    from playhead.cli.actions.store_upkeep import copy_log

    return copy_log(source, target, as_json=json)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make; it must not be there.")],
    url: Annotated[str | None, typer.Option("--store", metavar="URL", help="The log. (default: this home's)")] = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Copy a log into a SQLite file, while its server is at work."""
    from playhead.cli.actions.store_upkeep import back_up_log, url_of

    return back_up_log(url_of(url, home), file, as_json=json)


def compact(
    ended_before: Annotated[
        str, typer.Option("--ended-before", metavar="SPAN|TIME", help="Runs that ended earlier: 90d, or 2026-03-01.")
    ],
    url: Log = None,
    flows: Annotated[
        list[str] | None, typer.Option("--flow", metavar="NAME", help="Only runs of this flow; again for several.")
    ] = None,
    keep_last: Annotated[
        int,
        typer.Option("--keep-last", min=0, metavar="N", help="Keep the newest N ended runs of each flow in any case."),
    ] = 0,
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FILE", help="Write the runs into this SQLite file first.")
    ] = None,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Give the room back to the disk: a SQLite file is written anew.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this, tell what would go.")] = False,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Remove ended runs from a log, whole. A SQLite log's server must be stopped; what is in storage stays."""
    from playhead.cli.actions.store_compact import Asked, compact_log
    from playhead.cli.actions.store_upkeep import url_of

    asked = Asked(ended_before, tuple(flows or ()), keep_last, archive, shrink)
    return compact_log(url_of(url, home), asked, do_it=yes, as_json=json)
