"""Following the server: which runs are ready and fit, and which of the agent's own have moved on. Owns the cursor, claims nothing.

The position is taken first, then the ready runs are asked for as of that position, then the stream is followed from it: so there
is no gap, and what comes twice is harmless. A slow query beside the stream mends what a fault may have lost.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import anyio

from playhead.agent.asking import passing, persistently
from playhead.agent.pace import MAX_KNOWN, MAX_READY, Pace
from playhead.agent.ready import ReadyRuns
from playhead.core import events as ev
from playhead.core import matching
from playhead.core.names import RUN_ID_PATTERN, agent_stream, run_stream
from playhead.core.state import RunStatus
from playhead.core.views import RunSummary
from playhead.errors import CursorRefused, NotFound, PlayheadError, Refused, ServerRefused
from playhead.ports.server import MAX_PAGE, DiedRequest, EventFilter, RunFilter, RunPage, ServerApi, ServerInfo
from playhead.ports.store import Recorded

_RUNS: Final = run_stream("")  # the beginning of every run's stream
_RUN_ID: Final = re.compile(RUN_ID_PATTERN)
_READY: Final = {ev.RunReady.TYPE, ev.RunReleased.TYPE, ev.RunLost.TYPE}
_TAKEN_BACK: Final = {ev.RunReleased.TYPE, ev.RunLost.TYPE}
_ENDED: Final = {ev.RunSucceeded.TYPE, ev.RunFailed.TYPE, ev.RunCancelled.TYPE, ev.RunCrashed.TYPE}
_TYPES: Final = (
    *sorted(_READY | _ENDED),
    ev.RunScheduled.TYPE,
    ev.RunClaimed.TYPE,
    ev.AgentDraining.TYPE,
    ev.AgentLeft.TYPE,
)
_LIVE: Final = (RunStatus.CLAIMED, RunStatus.RUNNING, RunStatus.CANCELLING)

_log = logging.getLogger("playhead.agent")


class Follows(Protocol):
    """Who is told. All of it may be told twice."""

    def run_ended(self, run: str) -> None: ...

    def superseded(self, run: str, epoch: int) -> None:
        """The run has been taken from the runners of this epoch and of those before it."""
        ...

    def epochs_held(self) -> Mapping[str, int]:
        """The newest epoch of each run that is in the agent's hands."""
        ...

    def drain(self) -> None: ...

    async def rejoin(self) -> None:
        """The server takes the agent for gone."""
        ...

    def key_wanted(self) -> None:
        """There is a run for which nothing but its key is missing here."""
        ...


class Follower:
    """Keeps `ready` in step with the server. `run` ends only by cancellation, or by an error that asking again does not mend."""

    def __init__(self, api: ServerApi, joined: ev.AgentJoined, ready: ReadyRuns, told: Follows, pace: Pace) -> None:
        self._api = api
        self._agent = joined
        self._ready = ready
        self._told = told
        self._pace = pace
        self._fits: OrderedDict[str, bool] = OrderedDict()
        self._looked = False
        self._first_look = anyio.Event()
        self._breaks = 0  # of the event stream, since it last told anything

    async def run(self) -> None:
        async with anyio.create_task_group() as both:
            both.start_soon(self._follow)
            both.start_soon(self._look_again)

    async def presented_as(self, joined: ev.AgentJoined) -> None:
        """The agent has other keys than it had: what did not fit may fit now."""
        self._agent = joined
        self._fits.clear()
        await self._look()

    async def look(self) -> None:
        """Offer what is ready by now. Not before the first look is over, which gives back what an earlier life left."""
        await self._first_look.wait()
        await self._look()

    async def _follow(self) -> None:
        """The stream, from a fresh look on; and from another one if the stream breaks for good, as after a restore of the log."""
        while True:
            info = await self._look()
            try:
                await self._stream(info.cursor)
            except PlayheadError as error:
                if not isinstance(error, CursorRefused | ServerRefused) and not passing(error):
                    raise
                self._breaks += 1
                _log.warning("the event stream broke (%s); following anew", error.message)
            await anyio.sleep(self._pace.retry(self._breaks))

    async def _stream(self, cursor: str) -> None:
        which = EventFilter(streams=(_RUNS, agent_stream(self._agent.agent)), types=_TYPES)
        async with self._api.events(cursor=cursor, which=which) as pages:
            async for page in pages:
                self._breaks = 0
                await self._take_in(page.events)

    async def _take_in(self, events: tuple[Recorded, ...]) -> None:
        """Fold the whole page before anything is asked, so that a run that is ready and taken in one page costs nothing."""
        ready: dict[str, Recorded] = {}  # run → the event that made it ready
        for event in events:
            if event.type == ev.AgentDraining.TYPE:
                self._told.drain()
                continue
            if event.type == ev.AgentLeft.TYPE:
                await self._told.rejoin()
                continue
            run = event.stream.removeprefix(_RUNS)
            if not _RUN_ID.match(run):
                continue
            ready.pop(run, None)
            if event.type in _READY:
                ready[run] = event
            self._note(run, event)
        for run, event in ready.items():
            if await self._does_fit(run, event.position):
                self._ready.offer(run, event.data.get("epoch", 0))

    def _note(self, run: str, event: Recorded) -> None:
        if event.type == ev.RunScheduled.TYPE:
            scheduled = ev.decode(event.type, event.schema, event.data)
            assert isinstance(scheduled, ev.RunScheduled)
            self._remember(run, scheduled)
        elif event.type in _TAKEN_BACK:
            self._told.superseded(run, _epoch(event.data))
        elif event.type == ev.RunClaimed.TYPE:
            self._ready.withdraw(run)
            self._told.superseded(run, _epoch(event.data) - 1)
        elif event.type in _ENDED:
            self._fits.pop(run, None)
            self._ready.ended(run)
            self._told.run_ended(run)

    async def _look_again(self) -> None:
        while True:
            with anyio.move_on_after(self._pace.safety_seconds):
                await self._ready.wanting_more()
            await self._look()

    async def _look(self) -> ServerInfo:
        """Offer all runs that are ready and fit, and settle what the agent holds, as of the position that is returned."""
        held = dict(self._told.epochs_held())  # before the position, so that the answer has seen every claim among them
        info = await persistently(self._api.info, self._pace)
        if not self._looked:
            self._looked = True
            await self._give_back(info.position)
        ready = await self._rows(RunFilter(state=(RunStatus.READY,)), info.position)
        for row in reversed(ready):
            if self._remember(row.run_id, row):
                self._ready.offer(row.run_id, row.attempt)
        if held:
            live = await self._rows(RunFilter(state=_LIVE, agent=self._agent.agent), info.position)
            current = {row.run_id for row in live if row.attempt == held.get(row.run_id)}
            await self._settle(held, current, info.position)
        self._first_look.set()
        return info

    async def _give_back(self, position: int) -> None:
        """An earlier life may have died between a claim and its runner's order. What has its order is adopted by now, and this life
        has claimed nothing yet: what else the server holds for claimed here would wait until its launch times out."""
        for row in await self._rows(RunFilter(state=(RunStatus.CLAIMED,), agent=self._agent.agent), position):
            if row.run_id not in self._told.epochs_held():
                _log.warning("run %s, epoch %d: claimed in an earlier life, and not launched", row.run_id, row.attempt)
                died = partial(self._api.died, row.run_id, DiedRequest(epoch=row.attempt))
                with suppress(NotFound, Refused):
                    await persistently(died, self._pace)

    async def _settle(self, held: Mapping[str, int], live: Collection[str], position: int) -> None:
        """Only a row that knows the epoch says something about it: a server that is behind must not cost a runner its life."""
        for run in held.keys() - live:
            row = await self._row(run, position)
            if row is None or row.attempt < held[run]:
                continue
            if row.attempt == held[run] and row.state.terminal:
                self._told.run_ended(run)
            elif row.attempt > held[run] or row.state is RunStatus.READY:
                self._told.superseded(run, held[run])

    async def _does_fit(self, run: str, position: int) -> bool:
        fits = self._fits.get(run)
        if fits is None:
            row = await self._row(run, position)
            fits = row is not None and self._remember(run, row)
        return fits

    def _remember(self, run: str, wants: matching.Wants) -> bool:
        """Whether the run fits. What it wants never changes, and neither does the agent, but for its keys."""
        lacking = matching.missing(wants, self._agent)
        if [each.lack for each in lacking] == [matching.Lack.KEY]:
            self._told.key_wanted()
        fits = not lacking
        self._fits[run] = fits
        while len(self._fits) > MAX_KNOWN:
            self._fits.popitem(last=False)
        return fits

    async def _row(self, run: str, after: int) -> RunSummary | None:
        rows = await self._rows(RunFilter(prefix=run), after)
        return rows[0] if rows else None

    async def _rows(self, which: RunFilter, after: int) -> list[RunSummary]:
        """Newest first, up to MAX_READY and what is left of a page."""
        rows: list[RunSummary] = []
        page: str | None = None
        while len(rows) < MAX_READY:
            answer = await self._page(which, page, after)
            rows.extend(answer.runs)
            page = answer.next
            if page is None:
                break
        return rows

    async def _page(self, which: RunFilter, page: str | None, after: int) -> RunPage:
        return await persistently(lambda: self._api.runs(which, page=page, limit=MAX_PAGE, after=after), self._pace)


def _epoch(data: Mapping[str, Any]) -> int:
    return int(data["epoch"])
