"""The projector: follows the log and turns it into changes of the read models. Owns the way from events to rows; answers nothing.

It is also how the service learns what other replicas wrote: states of runs are kept up to date by it, and whoever watches
(leases, the clockwork) is told of what passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import orjson

from playhead.core import events as ev
from playhead.core.names import NAMESPACE, Position, StreamName
from playhead.core.replay import event_of
from playhead.core.state import RunState, RunStatus
from playhead.core.views import run_summary
from playhead.log.cursor import mark_of
from playhead.ports.store import EventStore, Page, Recorded
from playhead.service.folds import Folds
from playhead.service.read_models import Change, ReadModels
from playhead.service.snapshots import Snapshots

PAGE: Final = 1_000  # events read at once on the way to the head; also the size of a transaction
# After a page, until the next: rows of a busy run are written once and not for each append
GATHER_SECONDS: Final = 0.05

RUN_STREAMS: Final = f"{NAMESPACE}/run/"


class Projector:
    """`observe` is told each run's newest state, `passed` every event of another stream; `wake` is called when what is due next
    may have changed: a flow was registered, or a run waits for its time. `spoke` is told of each run of which its runner told
    something, where that matters: where it may have told another server."""

    def __init__(
        self,
        store: EventStore,
        models: ReadModels,
        states: Folds[RunState],
        snapshots: Snapshots,
        *,
        observe: Callable[[RunState], None],
        passed: Callable[[Recorded], None],
        wake: Callable[[], None],
        spoke: Callable[[RunState], None] | None = None,
    ) -> None:
        self._store = store
        self._models = models
        self._states = states
        self._snapshots = snapshots
        self._observe = observe
        self._passed = passed
        self._wake = wake
        self._spoke = spoke

    async def catch_up(self) -> None:
        """Bring the read models to the log's present head."""
        head = await self._store.head()
        while self._models.position < head:
            page = await self._store.read_all(after=self._models.position, limit=PAGE)
            await self.project(page)
            if not page.events and self._models.position < head:
                # Nothing was found up to the head: the positions left are gaps.
                await self._models.apply((), head, await self._store.first_bytes(head))

    async def follow(self) -> None:
        """Project what comes. Ends never; raises the log's errors."""
        async with self._store.subscribe(after=self._models.position) as pages:
            async for page in pages:
                await self.project(page)
                await self._models.wanted(GATHER_SECONDS)

    async def project(self, page: Page) -> None:
        """Bring the read models to the page's end."""
        changes: list[Change] = []
        runs: dict[StreamName, list[Recorded]] = {}
        for recorded in page.events:
            if recorded.stream.startswith(RUN_STREAMS):
                runs.setdefault(recorded.stream, []).append(recorded)
            else:
                changes.extend(_changes_of(recorded))
                self._passed(recorded)
        seen = [await self._states.seen(stream, events) for stream, events in runs.items()]
        for state, events in zip(seen, runs.values(), strict=True):
            changes.extend(_run_changes(state, events[0]))
        await self._models.apply(changes, page.scanned, await self._mark(page))
        for state in seen:
            self._observe(state)
        if self._spoke is not None:
            for state, events in zip(seen, runs.values(), strict=True):
                if any(recorded.actor == f"runner/{state.head.epoch}" for recorded in events):
                    self._spoke(state)
        for (stream, events), state in zip(runs.items(), seen, strict=True):
            await self._snapshots.offer(stream, state, events)
        waits = any(state.status is RunStatus.SCHEDULED for state in seen)
        if waits or any(recorded.type == ev.FlowRegistered.TYPE for recorded in page.events):
            self._wake()

    async def _mark(self, page: Page) -> str:
        if page.events and page.events[-1].position == page.scanned:
            return mark_of(page.events[-1].append_id)
        return await self._store.first_bytes(Position(page.scanned))


def _changes_of(recorded: Recorded) -> Iterable[Change]:
    """The changes by an event of a flow's, an agent's or a token's stream."""
    event = event_of(recorded)
    name = recorded.stream.rpartition("/")[2]
    match event:
        case ev.FlowRegistered():
            values = {
                "flow": event.flow,
                "version": recorded.version,
                "registered_at": recorded.recorded_at,
                "schedule_id": event.schedule.id if event.schedule is not None else None,
                "registered": _json(event),
            }
            yield Change("keep_flow", values)
        case ev.AgentJoined():
            yield Change("keep_agent", {"agent": name, "joined_at": recorded.recorded_at, "joined": _json(event)})
        case ev.AgentDraining():
            yield Change("set_agent_state", {"agent": name, "state": "draining"})
        case ev.AgentLeft():
            yield Change("set_agent_state", {"agent": name, "state": "left"})
        case ev.TokenCreated():
            values = {
                "token": name,
                "version": recorded.version,
                "created_at": recorded.recorded_at,
                "created": _json(event),
            }
            yield Change("keep_token", values)
        case ev.TokenRevoked():
            values = {"token": name, "version": recorded.version, "revoked_at": recorded.recorded_at}
            yield Change("revoke_token", values)
        case _:
            pass  # a kind of stream that these tables do not show


def _run_changes(state: RunState, first: Recorded) -> Iterable[Change]:
    head = state.head
    if head.forgotten_at is not None:
        fired = {"schedule_id": head.schedule_id, "scheduled_for": head.scheduled_for}
        left = {"run": head.run, "flow": head.flow, **fired}
        return (
            Change("drop_run", {"run": head.run}),
            Change("forget_snapshots", {"stream": first.stream}),
            Change("keep_forgotten", left),
        )
    values = {
        "run": head.run,
        "created": first.position,  # counts only where the row is new, and then the run's first event is on the page
        "version": state.version,
        "flow": head.flow,
        "state": head.status.value,
        "agent": head.agent,
        "schedule_id": head.schedule_id,
        "scheduled_for": head.scheduled_for,
        "created_at": head.created_at,
        "summary": run_summary(state).model_dump_json(),
    }
    return (Change("keep_run", values),)


def _json(event: ev.Event) -> str:
    return orjson.dumps(ev.encode(event)).decode()
