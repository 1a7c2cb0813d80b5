"""The client of a world: it seals and registers flows, asks for runs, cancels, ends schedules, and looks at what the server says in the
end. Owns the plan; all of it goes over the simulated network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from playhead.agent.asking import persistently
from playhead.client.http import HttpServer
from playhead.core import events as ev
from playhead.core.names import Micros
from playhead.core.schedules import due_after
from playhead.core.views import run_summary
from playhead.errors import NotFound
from playhead.flows.flow import Flow
from playhead.ports.server import RunFilter, RunRequest, ServerApi
from playhead.ports.storage import Storage
from playhead.trust.keys import MasterKey
from playhead.trust.payload import dump
from playhead.trust.seal import ModuleCode, Seal, write_seal
from playhead.trust.ticket import AskedTicket, ScheduleTicket, write_asked, write_schedule
from tests.simulation import flows as fl
from tests.simulation import promises as ck
from tests.simulation.checkers import Checkers
from tests.simulation.hosts import NAMES, PACE
from tests.simulation.network import Losses
from tests.simulation.server import URL
from tests.simulation.watchers import Watcher, present_foreign_cursors
from tests.simulation.weather import Weather

SCHEDULE_ID: Final = "5ced" * 4
FIRED_SLACK_MICROS: Final = Micros(1_000_000)  # between a due time and the moment in which a schedule's end is recorded
LOOK_SECONDS: Final = 1.0
LATEST_SECONDS: Final = Losses().latest + 1.0


def run_id(number: int) -> str:
    """Of the runs that are asked for, from 0 on."""
    return f"{0xF10 + number:032x}"


@dataclass
class Client:
    """`healed` tells when the faults are over, `at_work_for` for how many seconds there has been a server. `finished` once it has seen all
    that it wants to see."""

    weather: Weather
    rng: random.Random
    checkers: Checkers
    watchers: list[Watcher]
    healed: Callable[[], bool]
    at_work_for: Callable[[], float]
    key: MasterKey
    seals: dict[str, str] = field(default_factory=dict[str, str])
    asked: int = 0
    cancelled: set[str] = field(default_factory=set[str])
    ended_schedule: bool = False
    finished: bool = False

    async def live(self, storage: Storage) -> None:
        async with HttpServer(URL) as api:
            async with asyncio.TaskGroup() as plans:
                plans.create_task(self._ask_for_runs(api, storage))
                if self.weather.every_seconds is not None:
                    plans.create_task(self._have_a_schedule(api, storage))
                if self.weather.drains_after is not None:
                    plans.create_task(self._drain(api, self.weather.drains_after))
            while not (self.healed() and self.all_is_over()):
                await asyncio.sleep(LOOK_SECONDS)
            await self._compare_views(api)
            if self.watchers and (cursor := self.watchers[0].cursor) is not None:
                await present_foreign_cursors(self.rng, cursor, self.checkers.fail)
            self.finished = True

    def is_idle(self) -> bool:
        """Whether nothing that it asked for goes on, and nothing more will come: faults would meet nobody."""
        weather = self.weather
        plans_are_done = self.asked == len(weather.flows) and (weather.cancel_after is None or bool(self.cancelled))
        return weather.every_seconds is None and plans_are_done and self.all_is_over()

    def all_is_over(self) -> bool:
        return all(story.over for story in self.checkers.stories.values())

    async def _ask_for_runs(self, api: ServerApi, storage: Storage) -> None:
        for number, index in enumerate(self.weather.flows):
            flow, run = fl.FLOWS[index], run_id(number)
            await self._register(api, storage, flow)
            ticket = AskedTicket(run=run, flow=flow.name, seal=self.seals[flow.name], parameters=dump({}))
            write_asked(storage, ticket, self.key.run_key(run))
            request = RunRequest(run=run, flow=flow.name, seal=self.seals[flow.name])
            await persistently(lambda: api.ask_run(request), PACE)  # awaited before the next round
            self.asked += 1
        if self.weather.cancel_after is not None:
            await asyncio.sleep(self.weather.cancel_after)
            self.cancelled.add(run_id(0))
            await persistently(lambda: api.cancel(run_id(0)), PACE)

    async def _drain(self, api: ServerApi, after: float) -> None:
        await asyncio.sleep(after)
        with suppress(NotFound):  # it has not joined yet
            await persistently(lambda: api.drain(NAMES[0]), PACE)

    async def _have_a_schedule(self, api: ServerApi, storage: Storage) -> None:
        """Registered with a schedule, and in fine weather again without."""
        schedule = ev.Schedule(id=SCHEDULE_ID, every_seconds=self.weather.every_seconds)
        await self._register(api, storage, fl.tock, schedule)
        await asyncio.sleep(LATEST_SECONDS)  # a copy of the registration that came behind the next one would undo that
        while not (self.healed() and self.at_work_for() > 2 * LOOK_SECONDS):  # to do what it has missed
            await asyncio.sleep(LOOK_SECONDS)
        await self._register(api, storage, fl.tock)
        self.ended_schedule = True

    async def _register(
        self, api: ServerApi, storage: Storage, flow: Flow[..., Any], schedule: ev.Schedule | None = None
    ) -> None:
        flow_key = self.key.flow_key(flow.name)
        code = ModuleCode(module=fl.__name__, qualname=flow.name)
        seal = Seal(flow=flow.name, code=code, executor={"kind": "simulated"}, run_config={"kind": "universal"})
        seal_id = self.seals[flow.name] = write_seal(storage, seal, flow_key)
        if schedule is not None:
            ticket = ScheduleTicket(schedule=schedule.id, flow=flow.name, seal=seal_id, parameters=dump({}))
            write_schedule(storage, ticket, flow_key)
        registered = ev.FlowRegistered(
            flow=flow.name, seal=seal_id, sealed_by=ev.SealedBy.MODULE, executor="simulated", run_config="universal",
            storage=storage.id, key_id=self.key.id, schedule=schedule,
        )  # fmt: skip
        await persistently(lambda: api.register_flow(registered), PACE)

    async def _compare_views(self, api: ServerApi) -> None:
        """What the server shows of the runs is what their logs fold to (S8)."""
        position = self.checkers.log[-1].position
        page = await persistently(lambda: api.runs(RunFilter(), limit=100, after=position), PACE)
        shown = {row.run_id: row for row in page.runs}
        for run, story in self.checkers.stories.items():
            assert story.state is not None
            if shown.get(run) != run_summary(story.state):
                self.checkers.fail(ck.REPLAY, f"of run {run} is shown {shown.get(run)!r}, its log folds to another")

    def check_schedule(self) -> None:
        """S18: a run for each due time between the two registrations."""
        if self.weather.every_seconds is None:
            return
        schedule = ev.Schedule(id=SCHEDULE_ID, every_seconds=self.weather.every_seconds)
        begun, ended = (
            event.recorded_at for event in self.checkers.log if event.stream.endswith(f"/flow/{fl.tock.name}")
        )
        wanted: list[int] = []
        due = due_after(schedule, begun)
        while due <= ended - FIRED_SLACK_MICROS:
            wanted.append(due)
            due = due_after(schedule, due)
        fired = sorted(self.checkers.fired[SCHEDULE_ID])
        if fired[: len(wanted)] != wanted or len(fired) > len(wanted) + 1:
            self.checkers.fail(ck.EACH_TIME, f"the schedule was due at {wanted}, there are runs for {fired}")
