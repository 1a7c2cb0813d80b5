"""Questions about runs: one as it is or was, its history, and pages of many. Reads only."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from difflib import get_close_matches
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import orjson

from playhead.core.names import RUN_ID_PATTERN, Version, run_stream
from playhead.core.run_json import run_json
from playhead.core.state import RunState
from playhead.core.views import RunSummary, RunView, run_view
from playhead.errors import NotFound, UsageError
from playhead.ports.server import MAX_PAGE, RunFilter, RunPage
from playhead.ports.store import EventStore, Recorded
from playhead.service.folds import Folds
from playhead.service.read_models import ReadModels
from playhead.service.snapshots import Snapshots

# Tasks and maps, whose view takes less than a millisecond, and no longer than a trip to another thread
FEW: Final = 100
# Of many tasks: more threads would be no sooner done, and take the interpreter from the loop in turns
VIEWS_AT_ONCE: Final = 1

_RUN_ID = re.compile(RUN_ID_PATTERN)
_NEWEST: Final = 2**62  # beyond every position
_PAST_HEX: Final = "g"  # sorts behind every hexadecimal digit
_NEAR_DIGITS: Final = 6  # how many first digits make two run ids look alike


T = TypeVar("T")


class Queries:
    def __init__(self, store: EventStore, models: ReadModels, states: Folds[RunState], snapshots: Snapshots) -> None:
        self._store = store
        self._models = models
        self._states = states
        self._snapshots = snapshots
        self._views = anyio.CapacityLimiter(VIEWS_AT_ONCE)

    async def state(self, run: str, at: int | None = None) -> RunState:
        """The run's state, or the one it had at version `at`. NotFound: no such run or version."""
        if not _RUN_ID.fullmatch(run):
            raise await self.no_such_run(run)
        newest = await self._states.fresh(run_stream(run))
        if newest is None:
            raise await self.no_such_run(run)
        if at is None or at == newest.version:
            return newest
        if not 1 <= at <= newest.version:
            raise NotFound("version", str(at), hint=f"run {run} has versions 1 to {newest.version}")
        state = await self._snapshots.at(run_stream(run), Version(at)) if newest.head.forgotten_at is None else None
        if state is not None:
            return state
        newest = await self._states.fresh(run_stream(run))  # its events may have been forgotten while they were read
        assert newest is not None, "what is left of a run stays"
        assert newest.head.forgotten_at is not None, "a version that is there has events"
        raise NotFound(
            "version", str(at), hint=f"of run {run} only version {newest.version} is left: the others were forgotten"
        )

    async def view(self, run: str, at: int | None, *, tasks: bool) -> RunView:
        return await self.made_of(await self.state(run, at), lambda state: run_view(state, tasks=tasks), tasks=tasks)

    async def view_json(self, run: str, at: int | None, *, tasks: bool) -> Sequence[bytes]:
        """The view's JSON text, in parts."""
        state = await self.state(run, at)
        return await self.made_of(state, lambda state: tuple(run_json(state, tasks=tasks)), tasks=tasks)

    async def made_of(self, state: RunState, make: Callable[[RunState], T], *, tasks: bool) -> T:
        """What is made of the state. `tasks`: it goes through all of them."""
        if len(state.maps) + (sum(state.counts) if tasks else 0) <= FEW:
            return make(state)
        # A run may have very many tasks: their view is made where it keeps no other request waiting.
        return await anyio.to_thread.run_sync(make, state, limiter=self._views)

    async def history(self, run: str, after_version: int) -> AsyncIterator[Recorded]:
        if not _RUN_ID.fullmatch(run) or await self._states.known(run_stream(run)) is None:
            raise await self.no_such_run(run)
        async for events in self._store.read_stream(run_stream(run), after=Version(max(0, after_version))):
            for recorded in events:
                yield recorded

    async def page(self, which: RunFilter, page: str | None, limit: int) -> RunPage:
        """Newest first. UsageError: `page` was not given by an earlier answer."""
        if page is not None and not (page.isascii() and page.isdecimal() and len(page) < 19):
            raise UsageError("this is no page of runs", hint="pass `next` of the answer before, as it was given")
        if not 1 <= limit <= MAX_PAGE:
            raise UsageError(f"a page holds 1 to {MAX_PAGE} runs, not {limit}")
        values: dict[str, object] = {
            "before": int(page) if page is not None else _NEWEST,
            "agent": which.agent,
            "states": orjson.dumps([state.value for state in which.state]).decode() if which.state else None,
            "since": which.since,
            "low": which.prefix or "",
            "high": (which.prefix or "") + _PAST_HEX,
            "limit": limit + 1,
        }
        position = self._models.position
        if which.flow is None:
            rows = await self._models.rows("page_of_runs", **values)
        else:
            rows = await self._models.rows("page_of_runs_of_flow", flow=which.flow, **values)
        runs = tuple(RunSummary.model_validate_json(row["summary"]) for row in rows[:limit])
        more = str(rows[limit - 1]["created"]) if len(rows) > limit else None
        return RunPage(runs=runs, next=more, position=position)

    async def no_such_run(self, run: str) -> NotFound:
        """The error, with the run that was meant if one looks like it."""
        hint = "`playhead runs` lists the runs"
        low = run[:_NEAR_DIGITS].lower()
        if re.fullmatch(r"[0-9a-f]+", low):
            rows = await self._models.rows("similar_runs", low=low, high=low + _PAST_HEX, limit=MAX_PAGE)
            near = get_close_matches(run, [str(row["run"]) for row in rows], n=1)
            hint = f"did you mean {near[0]}?" if near else hint
        return NotFound("run", run, hint=hint)
