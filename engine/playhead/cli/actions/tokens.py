"""Making tokens, listing them, and letting them count no more. A token is drawn here; the server gets its digest."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from playhead.cli.exits import ExitCode
from playhead.cli.moments import seconds_in, span
from playhead.cli.output import print_json, stderr, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.tables import tokens_table
from playhead.core.names import check_name
from playhead.core.tokens import SECRET_BYTES, Token
from playhead.credentials import write_token
from playhead.errors import UsageError
from playhead.ports.server import MAX_TOKEN_SECONDS, TokenRequest, TokenView


@dataclass(frozen=True)
class Wanted:
    """The token that is to be made, as it was given."""

    name: str
    scope: str
    expires: str
    to: Path | None


def create_token(wanted: Wanted, *, home: Path | None, server: str | None, as_json: bool) -> int:
    token = Token(check_name("token", wanted.name), secrets.token_bytes(SECRET_BYTES))
    request = TokenRequest.model_validate(
        {
            "name": token.name,
            "scope": wanted.scope,
            "digest": token.digest,
            "lifetime_seconds": _lifetime_seconds(wanted.expires),
        }
    )
    if wanted.to is not None:
        write_token(wanted.to, token)  # before it counts: one that nobody has need not be revoked
    try:
        view = asyncio.run(_created(Place.of(home, server), request))
    except BaseException:
        if wanted.to is not None:
            wanted.to.unlink(missing_ok=True)
        raise
    if as_json:
        told = {"token": token.text} if wanted.to is None else {"file": str(wanted.to)}
        print_json(view.model_dump(mode="json") | told)
    else:
        _tell(view, token, wanted.to)
    return ExitCode.GOOD


def list_tokens(*, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            tokens = await client.api.tokens()
        if as_json:
            print_json([token.model_dump(mode="json") for token in tokens])
        elif tokens:
            stdout().print(tokens_table(tokens, datetime.now(UTC)))
        else:
            stderr().print("there are no tokens: playhead token create NAME --scope SCOPE", style="dim", soft_wrap=True)
        return ExitCode.GOOD

    return asyncio.run(ask())


def revoke_token(name: str, *, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            view = await client.api.revoke_token(check_name("token", name))
        if as_json:
            print_json(view.model_dump(mode="json"))
        else:
            stdout().print(f"token {name} counts no more", soft_wrap=True)
        return ExitCode.GOOD

    return asyncio.run(ask())


async def _created(place: Place, request: TokenRequest) -> TokenView:
    async with place.client() as client:
        return await client.api.create_token(request)


def _tell(view: TokenView, token: Token, file: Path | None) -> None:
    """The token alone on stdout, so that it can be piped; a secret is no part of a sentence that somebody copies into a ticket."""
    notes = stderr()
    notes.print(f"token {view.name}, {view.scope}, until {view.expires_at}", style="dim", soft_wrap=True)
    if file is None:
        print(token.text)
        notes.print("this is the only time that it is shown", style="dim")
    else:
        notes.print(f"it is in {file}: --token-file or PLAYHEAD_TOKEN_FILE", style="dim", soft_wrap=True)


def _lifetime_seconds(text: str) -> int:
    seconds = seconds_in(text)
    if not 1 <= seconds <= MAX_TOKEN_SECONDS:
        raise UsageError(
            f"a token cannot count for {text}",
            hint=f"{span(MAX_TOKEN_SECONDS)} is the most, so that one that is forgotten ends by itself",
        )
    return seconds
