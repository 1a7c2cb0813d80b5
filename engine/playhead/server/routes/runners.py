"""What a runner asks: start, heartbeat, report. The hot routes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from playhead.ports.server import Beat, HeartbeatRequest, Reported, ReportRequest, Started, StartRequest
from playhead.server.answers import answer
from playhead.server.routes.lean import ERRORS, PREFIX, LeanRoute, api_of

router = APIRouter(prefix=PREFIX, responses=ERRORS, tags=["runners"], route_class=LeanRoute)


@router.post("/runs/{run}/report", response_model=Reported)
async def report(request: Request, run: str, body: ReportRequest) -> Response:
    """Append a batch of the runner's journal to the run's stream."""
    return answer(await api_of(request).report(run, body))


@router.post("/runs/{run}/heartbeat", response_model=Beat)
async def heartbeat(request: Request, run: str, body: HeartbeatRequest) -> Response:
    """Keep the lease."""
    return answer(await api_of(request).heartbeat(run, body))


@router.post("/runs/{run}/start", response_model=Started)
async def start(request: Request, run: str, body: StartRequest) -> Response:
    """Begin an epoch; no flow code runs before the answer."""
    return answer(await api_of(request).start(run, body))
