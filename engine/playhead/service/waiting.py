"""What a run waits for: its state and what is known of the agents, put together. Reads only; the reasons are `core.waiting`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from playhead.core import events as ev
from playhead.core.kinds import ReleaseReason
from playhead.core.names import TaskKey, Version, run_stream
from playhead.core.standings import AgentStanding, Known, standings
from playhead.core.state import RunState, RunStatus, TaskState
from playhead.core.tasks import task_of
from playhead.core.waiting import RunWaiting, run_waiting
from playhead.errors import NotFound
from playhead.ports.clock import Clock
from playhead.ports.store import EventStore
from playhead.service.agents import Agents, AgentStatus
from playhead.service.queries import Queries
from playhead.service.settings import ServiceSettings

LOOK_BACK: Final = 100  # events of a run in which its newest releases are looked for: a claim and its release are two

_WITHOUT_AGENT: Final = (RunStatus.SCHEDULED, RunStatus.READY)


class Waiting:
    def __init__(
        self, store: EventStore, queries: Queries, agents: Agents, clock: Clock, settings: ServiceSettings
    ) -> None:
        self._store = store
        self._queries = queries
        self._agents = agents
        self._clock = clock
        self._settings = settings

    async def why(self, run: str, task: str | None) -> RunWaiting:
        """NotFound: no such run; or it has no such task."""
        state = await self._queries.state(run)
        wanted = _task(state, task) if task is not None else None
        agents = await self._standings(state) if state.status in _WITHOUT_AGENT else ()
        now = self._clock.now()
        return await self._queries.made_of(
            state,
            lambda state: run_waiting(state, agents, now=now, task=wanted),
            tasks=state.status is RunStatus.RUNNING,
        )

    async def _standings(self, state: RunState) -> list[AgentStanding]:
        gave_back = await self._gave_back(state)
        known = [
            Known(
                agent=view.agent,
                offers=view,
                capacity=view.capacity,
                busy=len(view.runs),
                draining=view.state == AgentStatus.DRAINING,
                left=view.state == AgentStatus.LEFT,
                last_contact_seconds=view.last_contact_seconds,
                gave_back=gave_back.get(view.agent),
            )
            for view in await self._agents.all()
        ]
        return standings(state.head, known, silence_seconds=self._settings.agent_silence_seconds)

    async def _gave_back(self, state: RunState) -> Mapping[str, ReleaseReason]:
        """Why each agent gave the run back last, as far as its newest events tell."""
        claimed_by: dict[int, str] = {}
        reasons: dict[str, ReleaseReason] = {}
        if not state.head.epoch:
            return reasons
        first = Version(max(0, state.version - LOOK_BACK))
        async for page in self._store.read_stream(run_stream(state.head.run), after=first, upto=state.version):
            for recorded in page:
                if recorded.type == ev.RunClaimed.TYPE:
                    claimed_by[recorded.data["epoch"]] = recorded.data["agent"]
                elif recorded.type == ev.RunReleased.TYPE and recorded.data["epoch"] in claimed_by:
                    reasons[claimed_by[recorded.data["epoch"]]] = ReleaseReason(recorded.data["reason"])
        return reasons


def _task(state: RunState, key: str) -> TaskState:
    found = task_of(state, TaskKey(key))
    if found is None:
        raise NotFound("task", key, hint=f"`playhead show {state.head.run}` lists its tasks")
    return found
