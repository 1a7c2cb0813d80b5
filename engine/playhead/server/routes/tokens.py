"""Tokens: create, list, revoke. Their secrets never come here: a token is drawn by whoever asks for it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from playhead.ports.server import TokenRequest, TokenView
from playhead.server.answers import answer, answer_all
from playhead.server.routes.lean import Routes, api_of

routes = Routes("tokens")


@routes.post("/tokens", TokenView)
async def create_token(request: Request, body: TokenRequest) -> Response:
    """Let a token count whose digest this is."""
    return answer(await api_of(request).create_token(body))


@routes.get("/tokens", tuple[TokenView, ...])
async def tokens(request: Request) -> Response:
    """All tokens, those that count no more included."""
    return answer_all(await api_of(request).tokens())


@routes.post("/tokens/{name}/revoke", TokenView)
async def revoke_token(request: Request, name: str) -> Response:
    """Let a token count no more."""
    return answer(await api_of(request).revoke_token(name))
