"""The servers of a world, behind a balancer that sends each request to any of them. Owns who takes a request, and since when one of them
has done a leader's work without a break. Where there is one server it has no choice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tests.simulation.fibers import Process, Schedule
from tests.simulation.server import SETTINGS, Caller, Request, Server

HOSTS: Final = ("server", "server-b", "server-c")
# After the count before: the answer to one that is later may come when its term is over, and then it leads anew.
LATEST_COUNT: Final = SETTINGS.takeover_seconds - 0.1


class Servers:
    """`on_two` is told of one that takes the lead while another leads."""

    def __init__(
        self, schedule: Schedule, rng: random.Random, servers: Sequence[Server], on_two: Callable[[str], None]
    ) -> None:
        self._schedule = schedule
        self._rng = rng
        self._all = servers
        self._on_two = on_two
        self._leader: Process | None = None  # who took the lead last, or kept it
        self._counted = -math.inf  # when it did so last
        self._led_since = 0.0

    def __iter__(self) -> Iterator[Server]:
        return iter(self._all)

    def start(self) -> None:
        for server in self._all:
            server.start()

    def handle(self, request: Request, caller: Caller) -> Server | None:
        """Have one of them carry it out, which need not be one that lives: that shows when it is asked."""
        server = self._all[0] if len(self._all) == 1 else self._rng.choice(self._all)
        return server.handle(request, caller)

    def life(self, process: Process) -> int | None:
        """Which of all their lives this one is, from 0 on: the first of each, then the second of each."""
        for index, server in enumerate(self._all):
            if server.process is process:
                return (server.lives - 1) * len(self._all) + index
        return None

    @property
    def at_work_since(self) -> float:
        """Since when one of them does a leader's work; infinite while none does."""
        if len(self._all) == 1:
            return self._all[0].at_work_since
        for server in self._all:
            if server.process is self._leader and server.leads:
                return max(self._led_since, server.at_work_since)
        return math.inf

    @property
    def any_at_work_since(self) -> float:
        """Since when there is one that could lead."""
        return min(server.at_work_since for server in self._all)

    def on_lead(self, process: Process) -> None:
        now = self._schedule.now
        leads_on = any(server.process is process and server.leads for server in self._all)
        if process is not self._leader or not leads_on or now - self._counted > LATEST_COUNT:
            self._led_since = now  # from here on everybody has a full term, also if it led a moment ago
        self._leader, self._counted = process, now
        for server in self._all:
            if server.process is not process and server.leads:
                self._on_two(f"{process.name} takes the lead, and {server.process.name} leads")
