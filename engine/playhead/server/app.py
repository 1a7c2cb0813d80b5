"""The ASGI app of a server: JSON under /api, OpenAPI at /openapi.json. Puts routes, error answers and limits together.

The app owns nothing of the server: whoever made the `ServerApi` opens and closes it.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from playhead.errors import PlayheadError
from playhead.ports.server import ServerApi
from playhead.server.answers import on_bad_request, on_http_error, on_playhead_error
from playhead.server.boundary import Boundary
from playhead.server.routes import agents, events, flows, health, runners, runs
from playhead.server.streams import StreamLimits, Streams

# Hot ones first: routes are tried in order.
_ROUTERS = (
    runners.router,
    agents.commands,
    runs.commands,
    flows.commands,
    health.router,
    events.router,
    runs.router,
    flows.router,
    agents.router,
)


def create_app(api: ServerApi | Callable[[], ServerApi], *, limits: StreamLimits | None = None) -> FastAPI:
    """The app that speaks for `api`, or for what the function gives when a request comes."""
    app = FastAPI(title="Playhead", openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    app.state.api = api if callable(api) else lambda: api
    app.state.streams = Streams(limits or StreamLimits())
    app.add_middleware(Boundary)
    app.add_exception_handler(PlayheadError, on_playhead_error)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(HTTPException, on_http_error)
    for router in _ROUTERS:
        app.router.routes.extend(router.routes)  # flat: a router inside a router costs 20 µs a request
    return app
