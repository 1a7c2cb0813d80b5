"""Flows: register, list, look at one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from playhead.core.events import FlowRegistered
from playhead.ports.server import FlowView
from playhead.server.answers import answer, answer_all
from playhead.server.routes.lean import ERRORS, PREFIX, LeanRoute, api_of

router = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["flows"])
commands = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["flows"], route_class=LeanRoute)

After = Annotated[int, Query(ge=0, description="answer from a state that has seen this position")]


@commands.post("/flows", response_model=FlowView)
async def register_flow(request: Request, body: FlowRegistered) -> Response:
    """Register a flow, or a newer seal of one."""
    return answer(await api_of(request).register_flow(body))


@router.get("/flows", response_model=tuple[FlowView, ...])
async def flows(request: Request, after: After = 0) -> Response:
    """All flows."""
    return answer_all(await api_of(request).flows(after=after))


@router.get("/flows/{name}", response_model=FlowView)
async def flow(request: Request, name: str, after: After = 0) -> Response:
    """One flow."""
    return answer(await api_of(request).flow(name, after=after))
