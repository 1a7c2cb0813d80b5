"""Agents: join, beat, drain, leave; and what they do with a run: claim, release, report a death."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from playhead.ports.server import AgentHello, AgentView, Claimed, ClaimRequest, DiedRequest, ReleaseRequest
from playhead.server.answers import answer, answer_all
from playhead.server.routes.flows import Since
from playhead.server.routes.lean import Routes, api_of, nothing

routes = Routes("agents")


@routes.post("/agents")
async def join(request: Request, body: AgentHello) -> Response:
    """An agent presents itself."""
    await api_of(request).join(body)
    return nothing()


@routes.post("/agents/{agent}/beat")
async def agent_beat(request: Request, agent: str) -> Response:
    """A sign of life."""
    await api_of(request).agent_beat(agent)
    return nothing()


@routes.post("/agents/{agent}/drain")
async def drain(request: Request, agent: str) -> Response:
    """It takes no more runs."""
    await api_of(request).drain(agent)
    return nothing()


@routes.post("/agents/{agent}/leave")
async def leave(request: Request, agent: str) -> Response:
    """It has ended."""
    await api_of(request).leave(agent)
    return nothing()


@routes.get("/agents", tuple[AgentView, ...])
async def agents(request: Request, query: Since) -> Response:
    """All agents."""
    return answer_all(await api_of(request).agents(after=query.after))


@routes.post("/runs/{run}/claim", Claimed)
async def claim(request: Request, run: str, body: ClaimRequest) -> Response:
    """Take a ready run."""
    return answer(await api_of(request).claim(run, body))


@routes.post("/runs/{run}/release")
async def release(request: Request, run: str, body: ReleaseRequest) -> Response:
    """Hand a claim back: the flow's code never began."""
    await api_of(request).release(run, body)
    return nothing()


@routes.post("/runs/{run}/died")
async def died(request: Request, run: str, body: DiedRequest) -> Response:
    """The runner is gone, with proof."""
    await api_of(request).died(run, body)
    return nothing()
