"""The server itself: who it is, and whether it can serve."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from playhead.ports.server import ServerInfo
from playhead.server.answers import answer
from playhead.server.routes.lean import ERRORS, PREFIX, LeanRoute, api_of

router = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["server"], route_class=LeanRoute)


class Health(BaseModel):
    """The server answers, and its log can be read up to `position`. A server that cannot says so with an error."""

    model_config = ConfigDict(frozen=True)

    version: str
    position: int


@router.get("/info", response_model=ServerInfo)
async def info(request: Request) -> Response:
    """Version, log, position and clock."""
    return answer(await api_of(request).info())


@router.get("/health", response_model=Health)
async def health(request: Request) -> Response:
    """For probes: 200, or an error with its status."""
    known = await api_of(request).info()
    return answer(Health(version=known.version, position=known.position))
