"""Flows: register, list, look at one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from playhead.core.events import FlowRegistered
from playhead.ports.server import FlowView
from playhead.server.answers import answer, answer_all
from playhead.server.routes.lean import Query, Routes, api_of

routes = Routes("flows")


class Since(Query):
    """How fresh the answer has to be."""

    after: Annotated[int, Field(ge=0, description="answer from a state that has seen this position")] = 0


@routes.post("/flows", FlowView)
async def register_flow(request: Request, body: FlowRegistered) -> Response:
    """Register a flow, or a newer seal of one."""
    return answer(await api_of(request).register_flow(body))


@routes.get("/flows", tuple[FlowView, ...])
async def flows(request: Request, query: Since) -> Response:
    """All flows."""
    return answer_all(await api_of(request).flows(after=query.after))


@routes.get("/flows/{name}", FlowView)
async def flow(request: Request, name: str, query: Since) -> Response:
    """One flow."""
    return answer(await api_of(request).flow(name, after=query.after))
