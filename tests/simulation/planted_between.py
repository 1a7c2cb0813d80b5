"""Planted bugs between the processes: of agents, streams, schedules, sweeps and the server's restarts. Each is a small change of the real
code, as in `planted`, that only a world of more than one runner finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec
import pytest
from anyio.abc import TaskGroup

from playhead.agent import base, custody, follower
from playhead.agent.base import Agent
from playhead.agent.custody import Custody
from playhead.agent.infrastructure import Exit, Launched, LostSight
from playhead.agent.pace import Pace
from playhead.core import decide
from playhead.core import events as ev
from playhead.core.names import Micros, Position
from playhead.core.replay import Replay
from playhead.core.state import RunStatus
from playhead.log.cursor import Cursor
from playhead.log.memory import MemoryBackend
from playhead.ports.store import Append, EventStore, Expect, Outcome, Page, Recorded
from playhead.runner.execution import Execution
from playhead.service import broadcast
from playhead.service import service as service_module
from playhead.service.agents import Agents
from playhead.service.broadcast import Broadcast, Listener
from playhead.service.clockwork import Clockwork, ScheduledFlow
from playhead.service.leases import Leases
from playhead.service.sweep import Sweep
from tests.simulation.backend import LogDisk
from tests.simulation.machine import MachineRunner
from tests.simulation.planted import nothing, put_in_place

T = TypeVar("T")

_BEHIND: Final = Micros(500_000)  # a time that came longer ago counts as missed


# --- streams -----------------------------------------------------------------------------------------------------------------------


def cursor_skips_one(patch: pytest.MonkeyPatch) -> None:
    """A subscriber that comes back is served from behind the event that it has not seen yet."""
    init = Listener.__init__

    def listener(it: Listener, after: Position) -> None:
        init(it, Position(after + 1) if after else after)

    put_in_place(patch, Listener, "__init__", listener)


def cursors_lag_behind(patch: pytest.MonkeyPatch) -> None:
    """A page goes out with the cursor of the page before it."""
    hand_out = Broadcast._hand_out  # pyright: ignore[reportPrivateUsage]  # the bug is a change inside
    newest: dict[Broadcast, str] = {}

    def handed_out(it: Broadcast, page: Page, cursor: str) -> None:
        hand_out(it, page, newest.get(it, cursor))
        newest[it] = cursor

    put_in_place(patch, Broadcast, "_hand_out", handed_out)


def cursors_are_taken_unseen(patch: pytest.MonkeyPatch) -> None:
    """A cursor is a position, whichever log it comes from."""

    async def position_of(store: EventStore, cursor: Cursor) -> Position:
        return min(cursor.position, await store.head())

    put_in_place(patch, broadcast, "check_cursor", position_of)


# --- the log -----------------------------------------------------------------------------------------------------------------------


def a_store_that_forgets_ids(patch: pytest.MonkeyPatch) -> None:
    """What comes again under its id is written again."""
    append = MemoryBackend._append  # pyright: ignore[reportPrivateUsage]  # as above

    def appended(it: MemoryBackend, each: Append, body: bytes) -> Outcome:
        it._records.appends.clear()  # pyright: ignore[reportPrivateUsage]  # as above
        if each.append_id.startswith("late") or any(event.type == ev.AgentJoined.TYPE for event in each.events):
            each = msgspec.structs.replace(each, expected=Expect.ANY)
        return append(it, each, body)

    put_in_place(patch, MemoryBackend, "_append", appended)


def acknowledges_before_it_syncs(patch: pytest.MonkeyPatch) -> None:
    """A commit is acknowledged when it is written; the disk has it with the next one."""
    sync = LogDisk.sync

    def later(disk: LogDisk) -> None:
        if disk.rng.random() < 0.5:
            sync(disk)

    put_in_place(patch, LogDisk, "sync", later)


def folds_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    """A state that is read back holds when it was read."""

    class Late(Replay):
        def add(self, events: Iterable[Recorded]) -> None:
            super().add([msgspec.structs.replace(each, recorded_at=Micros(each.recorded_at + 1)) for each in events])

    put_in_place(patch, service_module, "Replay", Late)


# --- leases and budgets ------------------------------------------------------------------------------------------------------------


def sweeps_only_at_start(patch: pytest.MonkeyPatch) -> None:
    """A server looks for ended leases once, when it begins."""

    async def once(_sweep: Sweep) -> None:
        await asyncio.Event().wait()

    put_in_place(patch, Sweep, "run", once)


def waits_for_claims_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A claim is its agent's until that starts a runner."""
    _never_over(patch, RunStatus.CLAIMED)


def waits_for_the_cancelled_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A run that is being cancelled is its runner's until that says so."""
    _never_over(patch, RunStatus.CANCELLING)


def losses_without_end(patch: pytest.MonkeyPatch) -> None:
    """A run may lose any number of runners."""

    def unlimited(_state: object) -> None:
        """In place of the budget."""

    put_in_place(patch, decide, "_budget", unlimited)


def starts_beyond_its_lease(patch: pytest.MonkeyPatch) -> None:
    """A runner that has lost its lease from sight goes on as if it had it."""
    put_in_place(patch, Execution, "_lease", nothing)


# --- schedules ---------------------------------------------------------------------------------------------------------------------


def forgets_missed_times(patch: pytest.MonkeyPatch) -> None:
    """What came due while the server was away is not made up for."""
    fire = Clockwork._fire  # pyright: ignore[reportPrivateUsage]  # as above

    async def fired(it: Clockwork, flow: ScheduledFlow | None) -> Micros | None:
        if flow is not None:
            now = it._clock.now()  # pyright: ignore[reportPrivateUsage]  # as above
            flow = replace(flow, newest_fired=max(flow.newest_fired or Micros(0), Micros(now - _BEHIND)))
        return await fire(it, flow)

    put_in_place(patch, Clockwork, "_fire", fired)


# --- agents ------------------------------------------------------------------------------------------------------------------------


def launches_twice(patch: pytest.MonkeyPatch) -> None:
    """An agent that is started again launches what its earlier life has launched, without a look at run and epoch."""
    adopt = Agent._adopt  # pyright: ignore[reportPrivateUsage]  # as above

    def again(it: Agent, tasks: TaskGroup, launched: Launched) -> None:
        assert isinstance(launched, MachineRunner)
        launched.begin()
        adopt(it, tasks, launched)

    put_in_place(patch, Agent, "_adopt", again)


def takes_absence_for_death(patch: pytest.MonkeyPatch) -> None:
    """An agent that can no longer see its runner reports its death."""
    report = Custody._report  # pyright: ignore[reportPrivateUsage]  # as above

    async def reported(it: Custody, launched: Launched, end: Exit | LostSight) -> None:
        await report(it, launched, end if isinstance(end, Exit) else Exit())

    put_in_place(patch, Custody, "_report", reported)


def drains_only_itself(patch: pytest.MonkeyPatch) -> None:
    """A server grants runs to whoever asks, and leaves it to the agent to stop asking."""

    async def anybody(_agents: Agents, _agent: str) -> None:
        await asyncio.sleep(0)

    put_in_place(patch, Agents, "check_joined", anybody)


def keeps_slots_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The slot of a runner that has ended is not given back."""
    keep = Agent._keep  # pyright: ignore[reportPrivateUsage]  # as above

    async def kept(it: Agent, each: Custody, _slot: object | None) -> None:
        await keep(it, each, None)

    put_in_place(patch, Agent, "_keep", kept)


def asks_only_once(patch: pytest.MonkeyPatch) -> None:
    """An agent whose server is away gives up."""

    async def once(request: Callable[[], Awaitable[T]], _pace: Pace) -> T:
        return await request()

    for module in (base, custody, follower):
        put_in_place(patch, module, "persistently", once)


def _never_over(patch: pytest.MonkeyPatch, status: RunStatus) -> None:
    is_over = Leases._is_over  # pyright: ignore[reportPrivateUsage]  # as above

    def over(leases: Leases, lease: Any, now: float) -> bool:
        return lease.status is not status and is_over(leases, lease, now)

    put_in_place(patch, Leases, "_is_over", over)
