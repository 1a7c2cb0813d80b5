"""The server itself: who it is, and whether it can serve."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from playhead.ports.server import ServerInfo
from playhead.server.answers import answer
from playhead.server.routes.lean import Routes, api_of

routes = Routes("server")


class Health(BaseModel):
    """The server answers, and its log can be read up to `position`. A server that cannot says so with an error."""

    model_config = ConfigDict(frozen=True)

    version: str
    position: int


@routes.get("/info", ServerInfo)
async def info(request: Request) -> Response:
    """Version, log, position and clock."""
    return answer(await api_of(request).info())


@routes.get("/health", Health)
async def health(request: Request) -> Response:
    """For probes: 200, or an error with its status."""
    known = await api_of(request).info()
    return answer(Health(version=known.version, position=known.position))
