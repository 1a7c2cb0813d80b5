"""Commands that let others use a server: token create, list, revoke."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from playhead.cli import options

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The token's name: who or what it is for. A part of its text.")
]


def add_to(app: typer.Typer) -> None:
    token = typer.Typer(help="Bearer tokens: who may use a server, for what and until when.", no_args_is_help=True)
    token.command("create")(create)
    token.command("list")(list_all)
    token.command("revoke")(revoke)
    app.add_typer(token, name="token")


def create(
    name: Name,
    scope: Annotated[
        options.Scope,
        typer.Option(
            "--scope", help="viewer: read; client: run flows, too; agent: serve runs; admin: all, and tokens."
        ),
    ],
    expires: Annotated[
        str, typer.Option("--expires", metavar="SPAN", help="How long it counts, such as 12h or 30d; 366d at most.")
    ] = "90d",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write it into this new file, which only you can read.")
    ] = None,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Make a token and print it, this once. Asks the server as an admin, or opens the home's own log."""
    from playhead.cli.actions.tokens import Wanted, create_token

    wanted = Wanted(name=name, scope=scope.value, expires=expires, to=to)
    return create_token(wanted, home=home, server=server, as_json=json)


def list_all(server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """List the tokens, those that were revoked or have ended included. None is shown."""
    from playhead.cli.actions.tokens import list_tokens

    return list_tokens(home=home, server=server, as_json=json)


def revoke(name: Name, server: options.Server = None, home: options.HomeDir = None, json: options.Json = False) -> int:
    """Let a token count no more, at once. Runners that its agent has launched go on with tokens of their own."""
    from playhead.cli.actions.tokens import revoke_token

    return revoke_token(name, home=home, server=server, as_json=json)
