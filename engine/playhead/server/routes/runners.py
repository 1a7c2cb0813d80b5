"""What a runner asks: start, heartbeat, report. The hot routes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from playhead.ports.server import Beat, HeartbeatRequest, Reported, ReportRequest, Started, StartRequest
from playhead.server.answers import answer
from playhead.server.routes.lean import Routes, api_of

routes = Routes("runners")


@routes.post("/runs/{run}/report", Reported)
async def report(request: Request, run: str, body: ReportRequest) -> Response:
    """Append a batch of the runner's journal to the run's stream."""
    return answer(await api_of(request).report(run, body))


@routes.post("/runs/{run}/heartbeat", Beat)
async def heartbeat(request: Request, run: str, body: HeartbeatRequest) -> Response:
    """Keep the lease."""
    return answer(await api_of(request).heartbeat(run, body))


@routes.post("/runs/{run}/start", Started)
async def start(request: Request, run: str, body: StartRequest) -> Response:
    """Begin an epoch; no flow code runs before the answer."""
    return answer(await api_of(request).start(run, body))
