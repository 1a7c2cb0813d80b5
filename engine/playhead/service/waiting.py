"""What a run waits for: its state and what is known of the agents, put together. Reads only; the reasons are `core.waiting`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from playhead.core import events as ev
from playhead.core.kinds import ReleaseReason
from playhead.core.names import TaskKey, Version, run_stream
from playhead.core.replay import event_of
from playhead.core.standings import AgentStanding, Known, standings
from playhead.core.state import RunState, RunStatus, TaskState
from playhead.core.tasks import task_of
from playhead.core.troubles import Trouble
from playhead.core.waiting import RunWaiting, run_waiting
from playhead.errors import NotFound
from playhead.ports.clock import Clock
from playhead.ports.store import EventStore
from playhead.service.agents import Agents, AgentStatus
from playhead.service.queries import Queries
from playhead.service.settings import ServiceSettings

LOOK_BACK: Final = 100  # events of a run in which its newest troubles are looked for: a claim and its release are two

_WITHOUT_AGENT: Final = (RunStatus.SCHEDULED, RunStatus.READY)
_TROUBLED: Final = (
    RunStatus.READY,
    RunStatus.CLAIMED,
    RunStatus.CRASHED,
)  # its newest trouble, if any, is near its newest event


@dataclass(slots=True)
class _Past:
    """What a run's newest events tell of its runners. `gave_back`: why each agent gave it back last."""

    gave_back: dict[str, ReleaseReason] = field(default_factory=dict[str, ReleaseReason])
    trouble: Trouble | None = None


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
        past = await self._past(state)
        agents = await self._standings(state, past.gave_back) if state.status in _WITHOUT_AGENT else ()
        now = self._clock.now()
        return await self._queries.made_of(
            state,
            lambda state: run_waiting(state, agents, now=now, trouble=past.trouble, task=wanted),
            tasks=state.status is RunStatus.RUNNING,
        )

    async def _standings(self, state: RunState, gave_back: Mapping[str, ReleaseReason]) -> list[AgentStanding]:
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

    async def _past(self, state: RunState) -> _Past:
        past = _Past()
        if not state.head.epoch or state.status not in _TROUBLED:
            return past
        claimed_by: dict[int, str] = {}
        first = Version(max(0, state.version - LOOK_BACK))
        async for page in self._store.read_stream(run_stream(state.head.run), after=first, upto=state.version):
            for recorded in page:
                match event_of(recorded) if recorded.type in _TOLD else None:
                    case ev.RunClaimed(epoch=epoch, agent=agent):
                        claimed_by[epoch] = agent
                    case ev.RunReleased() as released:
                        past.trouble = released
                        if released.epoch in claimed_by:
                            past.gave_back[claimed_by[released.epoch]] = released.reason
                    case ev.RunLost() as lost:
                        past.trouble = lost
                    case _:
                        pass
        return past


_TOLD: Final = frozenset({ev.RunClaimed.TYPE, ev.RunReleased.TYPE, ev.RunLost.TYPE})


def _task(state: RunState, key: str) -> TaskState:
    found = task_of(state, TaskKey(key))
    if found is None:
        raise NotFound("task", key, hint=f"`playhead show {state.head.run}` lists its tasks")
    return found
