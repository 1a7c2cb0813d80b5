"""A machine: the infrastructure on which one agent's runners live, longer than the agent does. Owns their processes, and who has seen
them end.

As the local infrastructure, it records a runner before it gives it its order: an agent that dies in between leaves one that never began.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from playhead.agent.infrastructure import Exit, Infrastructure, Launched, LostSight
from playhead.runner.bootstrap import RunnerOrder
from tests.simulation.fibers import Process, Schedule

NOTICE_SECONDS: Final = 0.05  # until an agent sees that a runner has ended

Live = Callable[[Process, RunnerOrder], int]  # what a runner's process does: the exit code


@dataclass
class Machine(Infrastructure):
    """`begin(machine, order)` makes a runner's process; `seeing` is how likely a runner's end is seen, and `losing` that a live one is lost
    from sight."""

    name: str
    schedule: Schedule
    rng: random.Random
    process_of: Callable[[str, RunnerOrder], Process]
    live: Live
    seeing: float = 1.0
    losing: float = 0.0
    runners: dict[tuple[str, int], MachineRunner] = field(default_factory=dict[tuple[str, int], "MachineRunner"])

    @property
    def kind(self) -> str:
        return "local"

    async def launch(self, order: RunnerOrder) -> Launched:
        self.schedule.pause("launch")
        known = self.runners.get((order.run, order.epoch))
        if known is not None:
            return known
        runner = self.runners[order.run, order.epoch] = MachineRunner(self, order)
        self.schedule.pause("recorded a runner")
        runner.begin()
        self.schedule.pause("launched")
        return runner

    async def survivors(self) -> Sequence[Launched]:
        self.schedule.pause("look for survivors")
        for runner in self.runners.values():
            runner.adopt()
        return list(self.runners.values())

    async def tend(self) -> None:
        """Nothing is kept of runners that were forgotten."""

    def lose_power(self) -> None:
        for runner in self.runners.values():
            if runner.process is not None:
                self.schedule.kill(runner.process)


class MachineRunner(Launched):
    """A runner, from its being recorded to its being forgotten. `process` is None until it has its order."""

    def __init__(self, machine: Machine, order: RunnerOrder) -> None:
        self._machine = machine
        self._order = order
        self._end: Exit | LostSight | None = None
        self._waiting: list[Future[None]] = []
        self.process: Process | None = None

    @property
    def run(self) -> str:
        return self._order.run

    @property
    def epoch(self) -> int:
        return self._order.epoch

    @property
    def output(self) -> str:
        return "nowhere"

    def begin(self) -> None:
        machine = self._machine
        process = self.process = machine.process_of(machine.name, self._order)
        process.on_end = self._ended
        self._exit_code: int | None = None
        machine.schedule.spawn(process, "main", self._live)
        if machine.rng.random() < machine.losing:
            lost = LostSight("the simulated machine looked away")
            machine.schedule.at(machine.schedule.now + machine.rng.uniform(0.1, 5.0), lambda: self._see(lost))

    def adopt(self) -> None:
        """A later life of the agent finds it. One that was never given its order has read the end of its pipe."""
        if self.process is None and self._end is None:
            self._see(Exit())

    async def wait(self) -> Exit | LostSight:
        while self._end is None:
            seen: Future[None] = Future()
            self._waiting.append(seen)
            await asyncio.wrap_future(seen)
        return self._end

    async def terminate(self) -> None:
        await self.kill()

    async def kill(self) -> None:
        if self.process is not None:
            self._machine.schedule.kill(self.process)

    async def forget(self, *, keep_output: bool) -> None:
        self._machine.schedule.pause("forget a runner")
        self._machine.runners.pop((self.run, self.epoch), None)

    def _live(self) -> None:
        assert self.process is not None
        self._exit_code = self._machine.live(self.process, self._order)
        self.process.die()  # whatever threads it still has

    def _ended(self) -> None:
        machine = self._machine
        end: Exit | LostSight
        if self._exit_code is None:
            end = Exit(signal=9) if machine.rng.random() < machine.seeing else LostSight("nobody saw its end")
        else:
            end = Exit(exit_code=self._exit_code)
        machine.schedule.at(machine.schedule.now + NOTICE_SECONDS, lambda: self._see(end))

    def _see(self, end: Exit | LostSight) -> None:
        if self._end is None:
            self._end = end
        for seen in self._waiting:
            if not seen.done():
                seen.set_result(None)
        self._waiting.clear()
