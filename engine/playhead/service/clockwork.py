"""The clockwork: makes due runs ready and asks for the runs of schedules. Owns the waiting; keeps nothing in memory.

What is due next is read from the read models in every round, so that a restart goes on where the log ends: times that were
missed are asked for, and none twice, because a scheduled run's id is made from its due time. Where several servers are on one log
the one that leads does all this, for thrift.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import orjson

from playhead.core import events as ev
from playhead.core.decide import MakeReady, ScheduleRun
from playhead.core.names import Micros, Position
from playhead.core.run_ids import scheduled_run_id
from playhead.core.schedules import MICROS, due_after
from playhead.errors import BadSchedule
from playhead.ports.clock import Clock
from playhead.service.clock import within
from playhead.service.commands import Done, RunCommands
from playhead.service.leadership import Leadership
from playhead.service.read_models import ReadModels, Row

# Missed times of one schedule in one round, so that a long stop of one keeps nobody else waiting
MAX_FIRED: Final = 100
MAX_READY: Final = 500  # runs made ready in one round
MAX_NAP_SECONDS: Final = 60.0  # the wall clock may be set while the clockwork sleeps

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScheduledFlow:
    """A flow that runs by itself, as its newest registration says, and the due time of its newest run."""

    registered: ev.FlowRegistered
    schedule: ev.Schedule
    since: Micros
    newest_fired: Micros | None

    @property
    def next_due(self) -> Micros:
        """The first due time for which there is no run; it may have passed. Raises BadSchedule."""
        return due_after(self.schedule, max(self.since, self.newest_fired or self.since))


class Clockwork:
    def __init__(self, models: ReadModels, commands: RunCommands, clock: Clock, leadership: Leadership) -> None:
        self._models = models
        self._commands = commands
        self._clock = clock
        self._leadership = leadership
        self._woken = asyncio.Event()
        self._wrote = Position(0)

    def wake(self) -> None:
        """Something was registered or scheduled: what is due next may have changed."""
        self._woken.set()

    async def run(self) -> None:
        """Rounds, each when the next thing is due. Ends never; raises the log's errors."""
        while True:
            await self._leadership.begins()
            self._woken.clear()
            next_due = await self._round()
            if next_due is None:
                await self._woken.wait()
            else:
                nap = (next_due - self._clock.now()) / MICROS
                await within(self._clock, min(max(nap, 0.0), MAX_NAP_SECONDS), self._woken.wait)

    async def _round(self) -> Micros | None:
        """Do what is due; when the next thing is."""
        # What the round before wrote must be seen by this one, else it would do the same again.
        await self._models.reached(self._wrote)
        flows = await self._models.rows("scheduled_flows")
        dues = [await self._make_ready(), *[await self._fire(scheduled_flow(row)) for row in flows]]
        return min((due for due in dues if due is not None), default=None)

    async def _make_ready(self) -> Micros | None:
        rows = await self._models.rows("waiting", limit=MAX_READY)
        for row in rows:
            due, now = Micros(row["scheduled_for"]), self._clock.now()
            if due > now or not self._leadership.leads:
                return due
            self._note(
                await self._commands.carry_out(row["run"], MakeReady(now=now), append_id=f"ready.{due}", actor="server")
            )
        return self._clock.now() if len(rows) == MAX_READY else None

    async def _fire(self, flow: ScheduledFlow | None) -> Micros | None:
        """Ask for the runs that are due; the first due time that is left."""
        if flow is None:
            return None
        try:
            due = flow.next_due
            for _ in range(MAX_FIRED):
                now = self._clock.now()
                if due > now or not self._leadership.leads:
                    break
                scheduled = scheduled_run(flow.registered, flow.schedule, due)
                self._note(
                    await self._commands.carry_out(
                        scheduled.run, ScheduleRun(scheduled=scheduled, now=now), append_id="scheduled", actor="server"
                    )
                )
                due = due_after(flow.schedule, due)
        except BadSchedule:
            # It was checked when it was registered, by a server that may have known more time zones than this one.
            _log.error("the schedule of flow %s cannot be followed by this server", flow.registered.flow)
            return None
        return due

    def _note(self, done: Done) -> None:
        self._wrote = max(self._wrote, done.position)


def scheduled_flow(row: Row) -> ScheduledFlow | None:
    """A row of `flows` or `scheduled_flows`; None if the flow has no schedule."""
    registered = ev.FlowRegistered.model_validate(orjson.loads(row["registered"]))
    if registered.schedule is None:
        return None
    fired = row["newest_fired"]
    newest = Micros(fired) if fired is not None else None
    return ScheduledFlow(registered, registered.schedule, Micros(row["schedule_since"]), newest)


def scheduled_run(registered: ev.FlowRegistered, schedule: ev.Schedule, due: Micros) -> ev.RunScheduled:
    return ev.RunScheduled(
        run=scheduled_run_id(registered.flow, schedule.id, due),
        flow=registered.flow,
        seal=registered.seal,
        origin=ev.Origin.SCHEDULE,
        schedule_id=schedule.id,
        scheduled_for=due,
        executor=registered.executor,
        run_config=registered.run_config,
        labels=registered.labels,
        storage=registered.storage,
        key_id=registered.key_id,
        python=registered.python,
    )
