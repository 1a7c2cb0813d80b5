"""The route that commands use: the body's bytes are parsed once, by pydantic's core, straight into the declared model.

OpenAPI still reads the signature. FastAPI's own handler parses the body into Python first, solves dependencies, and checks the
answer again: measured in docs/decisions/0035-lean-routes.md. An endpoint is `async def (request, [body], **path)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import request_response

from playhead.ports.server import ServerApi
from playhead.server.answers import ErrorAnswer, parsed

ApiSource = Callable[[], ServerApi]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

PREFIX: Final = "/api"
ERRORS: Final[dict[int | str, dict[str, Any]]] = {"default": {"model": ErrorAnswer, "description": "an error"}}


class LeanRoute(APIRoute):
    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        super().__init__(path, endpoint, **settings)
        self.app = request_response(
            self.get_route_handler()
        )  # Starlette's: no exit stacks for dependencies there are not

    def get_route_handler(self) -> Handler:
        endpoint = self.endpoint
        names = list(inspect.signature(endpoint).parameters)
        assert set(names) <= {"request", "body", *self.param_convertors}, f"{endpoint.__name__} has other parameters"
        if "body" not in names:

            async def handle(request: Request) -> Response:
                return cast("Response", await endpoint(request=request, **request.path_params))

            return handle
        model: type[BaseModel] = get_type_hints(endpoint)["body"]

        async def handle_body(request: Request) -> Response:
            body = await parsed(request, model)
            return cast("Response", await endpoint(request=request, body=body, **request.path_params))

        return handle_body


def api_of(request: Request) -> ServerApi:
    """The server that this app speaks for."""
    source: ApiSource = request.app.state.api
    return source()
