"""Agents: who they are, whether they may claim, and when they were last heard of. Owns the streams of agents."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

import orjson

from playhead.core import events as ev
from playhead.core.names import Position, Version, agent_stream
from playhead.core.replay import event_of, to_append
from playhead.core.views import iso
from playhead.errors import NotFound, Refused, WrongVersion
from playhead.ports.clock import Clock
from playhead.ports.server import AgentView
from playhead.ports.store import Append, EventStore, Recorded
from playhead.service.folds import Folds, one_by_one
from playhead.service.locks import KeyedLocks
from playhead.service.read_models import ReadModels

MAX_AGENTS: Final = 10_000  # whose states are kept in memory

_TRIES: Final = 5  # an agent competes with itself only, after a lost answer


class AgentStatus(StrEnum):
    JOINED = "joined"
    DRAINING = "draining"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class AgentState:
    version: Version
    joined: ev.AgentJoined
    status: AgentStatus


class Agents:
    def __init__(self, store: EventStore, models: ReadModels, clock: Clock) -> None:
        self._store = store
        self._models = models
        self._clock = clock
        self._states = Folds(store, one_by_one(_step), weight=lambda _: 1, max_weight=MAX_AGENTS)
        self._locks = KeyedLocks()
        self._heard: dict[str, float] = {}  # one entry for each agent that exists

    async def join(self, joined: ev.AgentJoined) -> Position:
        """Where the agent's joining is in the log. The same facts again write nothing."""
        done = await self._record(joined.agent, joined)
        self._heard[joined.agent] = self._clock.monotonic()
        return done

    async def drain(self, agent: str) -> Position:
        """No claims from now on; what it runs goes on. Nothing to do for one that drains or has left."""
        return await self._record(agent, ev.AgentDraining())

    async def leave(self, agent: str) -> Position:
        return await self._record(agent, ev.AgentLeft())

    async def beat(self, agent: str) -> None:
        """The agent was heard of. NotFound."""
        if agent not in self._heard:
            await self._existing(agent)
        self.heard_of(agent)

    def heard_of(self, agent: str) -> None:
        """The agent, which exists, was heard of here or by another server."""
        self._heard[agent] = self._clock.monotonic()

    def heard(self, agent: str) -> float | None:
        """When the agent was last heard of, on the monotonic clock."""
        return self._heard.get(agent)

    async def check_joined(self, agent: str) -> None:
        """NotFound, or Refused with the code "draining" or "left". What is kept may find it joined, but refuses nobody."""
        kept = self._states.kept(agent_stream(agent))
        if kept is not None and kept.status is AgentStatus.JOINED:
            return
        state = await self._existing(agent)
        if state.status is not AgentStatus.JOINED:
            raise _no_longer_joined(agent, state)

    def passed(self, recorded: Recorded) -> None:
        """The log's news of any stream but a run's: what is kept of an agent does not outlive its next event."""
        self._states.forget(recorded.stream, before=recorded.version)

    async def all(self) -> tuple[AgentView, ...]:
        runs: dict[str, list[str]] = defaultdict(list)
        for row in await self._models.rows("active"):
            runs[row["agent"]].append(row["run"])
        now = self._clock.monotonic()
        views: list[AgentView] = []
        for row in await self._models.rows("agents"):
            joined = ev.AgentJoined.model_validate(orjson.loads(row["joined"]))
            heard = self._heard.get(joined.agent)
            views.append(
                AgentView(
                    **joined.model_dump(),
                    state=row["state"],
                    joined_at=iso(row["joined_at"]) or "",
                    last_contact_seconds=now - heard if heard is not None else None,
                    runs=tuple(runs[joined.agent]),
                )
            )
        return tuple(views)

    async def _existing(self, agent: str) -> AgentState:
        state = await self._states.fresh(agent_stream(agent))
        if state is None:
            raise await self._no_such_agent(agent)
        return state

    async def _record(self, agent: str, event: ev.AgentJoined | ev.AgentDraining | ev.AgentLeft) -> Position:
        stream = agent_stream(agent)
        async with self._locks.hold(stream):
            for _ in range(_TRIES):
                state = await self._states.fresh(stream)
                if state is None and not isinstance(event, ev.AgentJoined):
                    raise await self._no_such_agent(agent)
                if state is not None and not _changes(state, event):
                    return await self._store.head()
                append = Append(
                    stream=stream,
                    events=(to_append(event),),
                    expected=state.version if state is not None else Version(0),
                    append_id=self._clock.new_id(),
                    actor=f"agent/{agent}",
                    recorded_at=self._clock.now(),
                )
                try:
                    ack = await self._store.append(append)
                    self._states.forget(stream, before=ack.version)
                    return ack.last
                except WrongVersion:
                    continue
        raise Refused(f"agent {agent} is being changed by others", code="busy", hint="ask again")

    async def _no_such_agent(self, agent: str) -> NotFound:
        near = get_close_matches(agent, [row["agent"] for row in await self._models.rows("agents")], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "an agent joins before it asks for anything"
        return NotFound("agent", agent, hint=hint)


def _no_longer_joined(agent: str, state: AgentState) -> Refused:
    words = {AgentStatus.DRAINING: "drains", AgentStatus.LEFT: "has left"}
    return Refused(f"agent {agent} {words[state.status]}", code=state.status, hint="let it join again to claim runs")


def _changes(state: AgentState, event: ev.AgentJoined | ev.AgentDraining | ev.AgentLeft) -> bool:
    match event:
        case ev.AgentJoined():
            return state.status is not AgentStatus.JOINED or state.joined != event
        case ev.AgentDraining():
            return state.status is AgentStatus.JOINED
        case ev.AgentLeft():
            return state.status is not AgentStatus.LEFT


def _step(state: AgentState | None, recorded: Recorded) -> AgentState:
    event = event_of(recorded)
    if isinstance(event, ev.AgentJoined):
        return AgentState(recorded.version, event, AgentStatus.JOINED)
    assert state is not None, "an agent's stream begins with its joining"
    status = AgentStatus.DRAINING if isinstance(event, ev.AgentDraining) else AgentStatus.LEFT
    return AgentState(recorded.version, state.joined, status)
