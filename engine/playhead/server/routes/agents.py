"""Agents: join, beat, drain, leave; and what they do with a run: claim, release, report a death."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from playhead.ports.server import AgentHello, AgentView, Claimed, ClaimRequest, DiedRequest, ReleaseRequest
from playhead.server.answers import answer, answer_all
from playhead.server.routes.flows import After
from playhead.server.routes.lean import ERRORS, PREFIX, LeanRoute, api_of

DONE: Final = 204  # carried out, nothing to say

router = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["agents"])
commands = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["agents"], route_class=LeanRoute)


@commands.post("/agents", status_code=DONE)
async def join(request: Request, body: AgentHello) -> Response:
    """An agent presents itself."""
    await api_of(request).join(body)
    return Response(status_code=DONE)


@commands.post("/agents/{agent}/beat", status_code=DONE)
async def agent_beat(request: Request, agent: str) -> Response:
    """A sign of life."""
    await api_of(request).agent_beat(agent)
    return Response(status_code=DONE)


@commands.post("/agents/{agent}/drain", status_code=DONE)
async def drain(request: Request, agent: str) -> Response:
    """It takes no more runs."""
    await api_of(request).drain(agent)
    return Response(status_code=DONE)


@commands.post("/agents/{agent}/leave", status_code=DONE)
async def leave(request: Request, agent: str) -> Response:
    """It has ended."""
    await api_of(request).leave(agent)
    return Response(status_code=DONE)


@router.get("/agents", response_model=tuple[AgentView, ...])
async def agents(request: Request, after: After = 0) -> Response:
    """All agents."""
    return answer_all(await api_of(request).agents(after=after))


@commands.post("/runs/{run}/claim", response_model=Claimed)
async def claim(request: Request, run: str, body: ClaimRequest) -> Response:
    """Take a ready run."""
    return answer(await api_of(request).claim(run, body))


@commands.post("/runs/{run}/release", status_code=DONE)
async def release(request: Request, run: str, body: ReleaseRequest) -> Response:
    """Hand a claim back: the flow's code never began."""
    await api_of(request).release(run, body)
    return Response(status_code=DONE)


@commands.post("/runs/{run}/died", status_code=DONE)
async def died(request: Request, run: str, body: DiedRequest) -> Response:
    """The runner is gone, with proof."""
    await api_of(request).died(run, body)
    return Response(status_code=DONE)
