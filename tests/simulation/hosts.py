"""A host: a machine with the real agent on it, whose lives follow one another. Owns the agent's process and the pace it keeps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from playhead.agent.base import Agent
from playhead.agent.pace import Pace
from playhead.agent.user_side import UserSide
from playhead.client.http import HttpServer
from playhead.core import events as ev
from playhead.trust.keys import KeyRing
from tests.simulation.disk import Disk
from tests.simulation.fibers import Process, Schedule
from tests.simulation.machine import Machine
from tests.simulation.server import LEASE_SECONDS, URL

NAMES: Final = ("otter", "heron", "lynx")
CAPACITY: Final = 3  # runners at a time
# As the product's, in proportion to the simulated lease.
PACE: Final = Pace(
    beat_seconds=LEASE_SECONDS / 3,
    safety_seconds=8.0,
    launch_timeout_seconds=15.0,
    ended_grace_seconds=8.0,
    superseded_grace_seconds=1.5,
    stop_grace_seconds=1.5,
    farewell_seconds=1.0,
    retry_first_seconds=0.1,
    retry_most_seconds=2.0,
    rest_first_seconds=0.5,
    rest_most_seconds=4.0,
)


class Host:
    """`start` begins a life of the agent; one that was killed begins again `rest()` seconds later, as its supervisor has it."""

    def __init__(
        self,
        machine: Machine,
        disk: Disk,
        keys: KeyRing,
        schedule: Schedule,
        rng: random.Random,
        ends: Callable[[], bool],
    ) -> None:
        self.machine = machine
        self._disk = disk
        self._keys = keys
        self._schedule = schedule
        self._rng = rng
        self._ends = ends
        self.lives = 0
        self.process = Process(f"{machine.name}.0", host=machine.name, dead=True)

    @property
    def name(self) -> str:
        return self.machine.name

    def start(self) -> None:
        if not self.process.dead:
            return
        self.lives += 1
        process = self.process = Process(f"{self.name}.{self.lives}", host=self.name, on_end=self._rest)
        self._schedule.spawn(process, "agent", lambda: asyncio.run(self._serve(process)))

    def _rest(self) -> None:
        if not self._ends():
            self._schedule.at(self._schedule.now + self._rng.uniform(0.1, 2 * LEASE_SECONDS), self.start)

    async def _serve(self, process: Process) -> None:
        user_side = UserSide([self._disk.seen_by(process)], self._keys)
        joined = ev.AgentJoined(
            agent=self.name, kind="local", capacity=CAPACITY, storages=user_side.storage_ids, key_ids=user_side.key_ids,
            python="3.11", version="0.1",
        )  # fmt: skip
        async with HttpServer(URL) as api:
            agent = Agent(
                api, server_url=URL, infrastructure=self.machine, user_side=user_side, joined=joined, pace=PACE
            )
            await agent.run()
