"""The ASGI app of a server: JSON under /api, OpenAPI at /openapi.json. Puts routes, error answers and limits together.

The app owns nothing of the server: whoever made the `ServerApi` opens and closes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from playhead.errors import PlayheadError
from playhead.ports.access import Guarded
from playhead.server.access import Door
from playhead.server.answers import on_http_error, on_playhead_error
from playhead.server.boundary import Boundary
from playhead.server.openapi import described
from playhead.server.routes import agents, events, flows, health, runners, runs, tokens
from playhead.server.routes.lean import JSON
from playhead.server.shortcut import ShortcutApp
from playhead.server.streams import StreamLimits, Streams

KINDS: Final = (runners, agents, runs, flows, health, events, tokens)
_ROUTES: Final = [route for kind in KINDS for route in kind.routes]


def create_app(
    api: Guarded | Callable[[], Guarded], *, limits: StreamLimits | None = None, require_tokens: bool = False
) -> Starlette:
    """The app that speaks for `api`, or for what the function gives when a request comes.

    A token that comes with a request is checked in any case; `require_tokens`: nobody is answered without one. That is for whoever
    serves the app to decide: `serve` listens on no address but this machine's own without.
    """
    app = ShortcutApp(
        _ROUTES,
        routes=[*_ROUTES, Route("/openapi.json", _describe)],
        middleware=[Middleware(Boundary)],
        exception_handlers={PlayheadError: on_playhead_error, HTTPException: on_http_error},
    )
    source: Callable[[], Guarded] = api if callable(api) else lambda: api
    app.state.api = source
    app.state.door = Door(lambda: source().admission, required=require_tokens)
    app.state.streams = Streams(limits or StreamLimits())
    return app


async def _describe(request: Request) -> Response:
    """This app's OpenAPI document: made when it is asked for, which no start and no runner does."""
    root = request.scope.get("root_path", "")
    document = described(_ROUTES, root=root, tokens_required=request.app.state.door.required)
    return Response(to_json(document), media_type=JSON)
