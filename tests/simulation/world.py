"""One simulated world: a server or several, agents on their machines, their runners, a client and watchers, from the first request to
the last run's end. `simulate` is the door.

Server, agents, runners and clients are the real ones, over the interposed library and the simulated network and disks. Faults end before
the end: then everything must come to rest, and what was promised is looked at once more.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Final, cast

import pytest

from playhead.core.decide import MAX_LOSSES
from playhead.core.state import RunStatus
from playhead.journal.reader import load_payload, read_journal, record_at
from playhead.runner import payloads
from playhead.runner.bootstrap import RunnerOrder
from playhead.trust.failure import load_failure
from playhead.trust.keys import KeyRing, MasterKey
from playhead.trust.payload import load
from tests.simulation import promises as ck
from tests.simulation import runners, transport
from tests.simulation.backend import LogDisk
from tests.simulation.bounds import Bounds
from tests.simulation.checkers import Checkers, Violation
from tests.simulation.client import Client
from tests.simulation.disk import Disk
from tests.simulation.executor import LATEST_SECONDS, Workers
from tests.simulation.fibers import Fiber, Process, Schedule, Stuck
from tests.simulation.flows import EXPECTED, FLOWS, Ledger, keeping
from tests.simulation.hosts import NAMES, Host
from tests.simulation.interposed import interposed
from tests.simulation.machine import Machine
from tests.simulation.network import Network
from tests.simulation.server import Server
from tests.simulation.servers import HOSTS, Servers
from tests.simulation.shared import SharedDisk
from tests.simulation.story import Story
from tests.simulation.watchers import FILTERS, Watcher
from tests.simulation.weather import Fate, Fault, Outage, Weather

KEY: Final = MasterKey(bytes(range(32)))
INLINE_BYTES: Final = 300  # small, so that results of both kinds occur
REST_SECONDS: Final = 120.0  # virtual time in which all runs must end once the faults are over
LOOK_SECONDS: Final = 0.5  # between two looks at the bounds

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Told:
    """What became of a world."""

    seed: int
    weather: Weather
    drawn: bool  # the weather follows from the seed
    violation: Violation | None
    ends: tuple[RunStatus, ...]
    epochs: int  # of all runs together
    seconds: float  # of virtual time
    events: int
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Two worlds of one seed have the same."""
        return sha256("\n".join(self.trace).encode()).hexdigest()

    @property
    def succeeded(self) -> bool:
        return RunStatus.SUCCEEDED in self.ends

    def __str__(self) -> str:
        again = f"python -m tests.simulation {self.seed}"
        if not self.drawn:
            again += f" --weather '{self.weather}'"
        return "\n  ".join(
            [f"seed {self.seed}: {self.violation}", f"{self.weather}", *self.trace[-80:], f"again: {again}"]
        )


def simulate(seed: int, weather: Weather | None = None, plant: Plant | None = None) -> Told:
    """Live through the world of this seed. `plant` may change the product first; what it changes is undone."""
    rng = random.Random(seed)
    drawn = weather is None
    weather = weather or Weather.of(rng)
    world = World(rng, weather)
    with interposed(world.schedule, world.rng) as patch:
        patch.setattr(payloads, "INLINE_BYTES", INLINE_BYTES)
        transport.over(world.network, patch)
        if plant is not None:
            plant(patch)
        world.checkers.observe(patch)
        runners.surrounded(world.disk, patch, world.checkers.on_told)
        world.live()
    checkers = world.checkers
    return Told(
        seed=seed,
        weather=weather,
        drawn=drawn,
        violation=checkers.first,
        ends=tuple(checkers.ends()),
        epochs=sum(story.state.head.epoch for story in checkers.stories.values() if story.state is not None),
        seconds=world.schedule.now,
        events=len(checkers.log),
        trace=tuple(f"{at:9.3f} {who}: {what}" for at, who, what in world.schedule.trace),
    )


class World:
    def __init__(self, rng: random.Random, weather: Weather) -> None:
        self.rng = rng
        self.weather = weather
        schedule = self.schedule = Schedule(rng, switching=weather.switching)
        schedule.before_step = self._before_step
        schedule.on_death = self._on_death
        self.disk = Disk(schedule, rng, failing=weather.failing_flushes)
        self.checkers = Checkers(KEY, self.disk)
        self.log = self._log()
        self.servers = Servers(
            schedule,
            rng,
            [Server(schedule, rng, self.log, host) for host in HOSTS[: weather.servers]],
            lambda told: self.checkers.fail(ck.ONE_LEADS, told),
        )
        for server in self.servers:
            server.on_end = self._on_server_end
        if isinstance(self.log, SharedDisk):
            self.log.on_lead = self.servers.on_lead
        self.network = Network(schedule, rng, self.servers)
        self.network.losses = weather.losses
        self.bounds = Bounds(self.checkers, self.servers, lambda: schedule.now, self._store_is_away)
        self.network.on_answer = self._on_answer
        self.network.on_taken = self.bounds.on_taken
        self.workers = Workers(schedule, rng, weather.shares_memory, weather.losing_workers)
        self.workers.on_launch = self._on_launch
        self.hosts = [self._host(name) for name in NAMES[: len(weather.agents)]]
        self.watchers = [Watcher(which, self.checkers.log, self.checkers.fail) for which in FILTERS[: weather.watchers]]
        self.client = Client(
            weather, rng, self.checkers, self.watchers, lambda: self.healed, self._server_at_work_for, KEY
        )
        self.runners = self.checkers.runners
        self.healed = False
        self.done = False
        self._watching: list[tuple[Process, Watcher]] = []  # who lives, and the oldest first
        self._steps: Counter[tuple[Process, Fate]] = Counter()  # that a fate has waited for

    def live(self) -> None:
        ledger = Ledger(self._on_execution, self.checkers.on_seen)
        try:
            with keeping(ledger), self._executors():
                self._begin()
                self.schedule.run(lambda: self.done or self.checkers.first is not None)
                if self.checkers.first is None:
                    self._look_back()
        except Stuck as stuck:
            self.checkers.fail(ck.PROGRESS, f"all wait, and nothing is due: {stuck}")
        finally:
            self.done = True
            self.schedule.end()

    def _begin(self) -> None:
        schedule, weather = self.schedule, self.weather
        self.servers.start()
        for host in self.hosts:
            host.start()
        client = Process("client", host="client")
        schedule.spawn(client, "main", lambda: asyncio.run(self.client.live(self.disk.seen_by(client))))
        for watcher in self.watchers:
            self._watch(watcher)
        for moment in weather.deaths_of_watchers:
            schedule.at(moment, self._kill_a_watcher)
        for cut in weather.cuts:
            schedule.at(cut.at, lambda cut=cut: self._cut_off(cut.host, cut.seconds, cut.way))  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        for outage in weather.outages:
            schedule.at(outage.at, partial(self._break_off, outage))
        if weather.power_fails_at is not None:
            schedule.at(weather.power_fails_at, self._lose_power)
        schedule.spawn(Process("fate"), "main", self._keep_watch)

    def _keep_watch(self) -> None:
        """Look at the bounds, end the faults, and see when all is over."""
        while not self.done:
            self.schedule.sleep(LOOK_SECONDS)
            if not self.healed and (self.schedule.now >= self.weather.heals_at or self.client.is_idle()):
                self._heal()
            self.bounds.look()
            self.done = self.healed and self._at_rest()
            if self.schedule.now > self.weather.heals_at + REST_SECONDS:
                self.checkers.fail(ck.PROGRESS, self._what_is_left())

    def _at_rest(self) -> bool:
        return (
            self.client.finished
            and all(runner.dead for runner in self.runners)
            and all(watcher.level for watcher in self.watchers)
        )

    def _what_is_left(self) -> str:
        runs = [f"{run[-3:]} {story.status}" for run, story in self.checkers.stories.items() if not story.over]
        alive = [runner.name for runner in self.runners if not runner.dead]
        behind = [index for index, watcher in enumerate(self.watchers) if not watcher.level]
        asked = f"asked {self.client.asked}, finished {self.client.finished}"
        return (
            f"after {self.schedule.now:.0f} s: runs {runs}; runners {alive}; watchers behind {behind}; client {asked}"
        )

    def _server_at_work_for(self) -> float:
        return self.schedule.now - self.servers.at_work_since

    def _heal(self) -> None:
        """From here on nothing goes wrong, and who is down comes back."""
        self.healed = True
        self.schedule.trace.append((self.schedule.now, "fate", "the faults are over"))
        self.network.heal()
        self.disk.failing = self.log.unknown = self.workers.losing = 0.0
        if isinstance(self.log, SharedDisk):
            self.log.heal()
        for host in self.hosts:
            host.machine.losing, host.machine.seeing = 0.0, 1.0

    # --- the log ---------------------------------------------------------------------------------------------------------------------

    def _log(self) -> LogDisk | SharedDisk:
        weather, on_commit = self.weather, self.checkers.on_commit
        if weather.servers == 1:
            return LogDisk(self.schedule, self.rng, on_commit, unknown=weather.unknown_commits)
        return SharedDisk(self.schedule, self.rng, on_commit, unknown=weather.unknown_commits, deaf=weather.deaf)

    def _store_is_away(self) -> bool:
        return isinstance(self.log, SharedDisk) and any(self.log.is_away(host) for host in HOSTS)

    def _break_off(self, outage: Outage) -> None:
        if self.healed or not isinstance(self.log, SharedDisk):
            return
        if outage.host is None:
            self.log.crash(outage.seconds)
        else:
            self.log.cut_off(outage.host, outage.seconds)

    # --- who lives here -------------------------------------------------------------------------------------------------------------

    def _host(self, name: str) -> Host:
        def live(process: Process, order: RunnerOrder) -> int:
            return runners.live(self.checkers, process, order)

        machine = Machine(
            name,
            self.schedule,
            self.rng,
            self._runner,
            live,
            seeing=self.weather.proofs,
            losing=self.weather.lost_sight,
        )
        return Host(machine, self.disk, KeyRing(KEY), self.schedule, self.rng, lambda: self.done)

    def _runner(self, host: str, order: RunnerOrder) -> Process:
        skews = self.weather.skews
        skew = skews[len(self.runners) % len(skews)] if skews else 0.0
        name = f"runner.{order.run[-3:]}.{order.epoch}"
        process = Process(name, epoch=order.epoch, run=order.run, host=host, skew=skew)
        self.runners.append(process)
        return process

    def _watch(self, watcher: Watcher) -> None:
        process = Process("watcher", host="watchers")
        self._watching.append((process, watcher))
        self.schedule.spawn(process, "main", lambda: asyncio.run(watcher.follow(process)))

    def _kill_a_watcher(self) -> None:
        """And have it come back with its cursor."""
        if self._watching and not self.done:
            process, watcher = self._watching.pop(0)
            self.schedule.kill(process)
            self.schedule.at(self.schedule.now + self.rng.uniform(0.1, 3.0), lambda: self._watch(watcher))

    @contextmanager
    def _executors(self) -> Generator[None]:
        before = [flow.executor for flow in FLOWS]
        for flow in FLOWS:
            flow.executor = cast("Any", self.workers)
        try:
            yield
        finally:
            for flow, executor in zip(FLOWS, before, strict=True):
                flow.executor = executor

    # --- what happens ---------------------------------------------------------------------------------------------------------------

    def _on_execution(self, fiber: Fiber, key: str, attempt: int) -> None:
        """A task's function runs, and takes its time: one worker performs many, and others must come in between."""
        self.checkers.on_execution(fiber, key, attempt)
        self.schedule.sleep(self.rng.uniform(0.0, LATEST_SECONDS))

    def _on_launch(self, process: Process) -> None:
        self.bounds.on_launch(process)
        self.checkers.on_launch(process)

    def _on_answer(self, *told: Any) -> None:
        self.bounds.on_answer(*told)
        self.checkers.on_answer(*told)

    def _on_server_end(self, server: Server) -> None:
        self.checkers.on_server_end(server.service)
        if not self.done:
            self.schedule.at(self.schedule.now + self.rng.uniform(0.2, 4.0), server.start)

    def _on_death(self, fiber: Fiber, error: BaseException) -> None:
        self.checkers.fail(ck.NO_ERROR, f"{fiber.name} died of {error!r}")

    # --- faults ---------------------------------------------------------------------------------------------------------------------

    def _before_step(self, fiber: Fiber, label: str) -> None:
        if self.healed:
            return
        process = fiber.process
        for fate in self._fates(process):
            if label.startswith(fate.where):
                self._steps[process, fate] += 1
                if self._steps[process, fate] == fate.at_step:
                    self._strike(fiber, fate)

    def _fates(self, process: Process) -> tuple[Fate, ...]:
        if process.run:
            return _at(self.weather.fates, self.runners.index(process))
        life = self.servers.life(process)
        if life is not None:
            return _at(self.weather.server, life)
        for index, host in enumerate(self.hosts):
            if process is host.process and host.lives == 1:
                return self.weather.agents[index]
        return ()

    def _strike(self, fiber: Fiber, fate: Fate) -> None:
        process = fiber.process
        match fate.fault:
            case Fault.KILL:
                self.schedule.kill(process)
            case Fault.STOP:
                self.schedule.stop(process, fate.seconds)
            case Fault.CUT_OFF:
                self.network.cut_off(process, fate.seconds)
            case Fault.LATE:
                process.late_until = max(process.late_until, self.schedule.now + fate.seconds)
                self.schedule.sleep(fate.seconds)

    def _cut_off(self, host: str, seconds: float, way: Any) -> None:
        if not self.healed:
            self.network.cut_off(host, seconds, way)

    def _lose_power(self) -> None:
        """Everything stops at once, and what was not flushed is gone."""
        if self.healed:
            return
        self.schedule.trace.append((self.schedule.now, "fate", "the power fails"))
        for server in self.servers:
            self.schedule.kill(server.process)
        for host in self.hosts:
            self.schedule.kill(host.process)
            host.machine.lose_power()
        self.disk.lose_power()

    # --- the end --------------------------------------------------------------------------------------------------------------------

    def _look_back(self) -> None:
        for server in self.servers:
            self.checkers.on_server_end(server.service)
        self.checkers.at_the_end()
        self.client.check_schedule()
        for run, story in self.checkers.stories.items():
            self._look_back_at(run, story)
        ends = Counter(self.checkers.ends())
        excused = bool(ends[RunStatus.CANCELLED] + ends[RunStatus.CRASHED])
        if not excused and not ends[RunStatus.SUCCEEDED]:
            self.checkers.fail(ck.WORTH, f"runs that ended as {dict(ends)}")

    def _look_back_at(self, run: str, story: Story) -> None:
        checkers, state = self.checkers, story.state
        assert state is not None
        outcome = state.head.outcome
        if state.status is RunStatus.SUCCEEDED:
            assert outcome is not None
            value = load(self._payload(story, outcome.epoch, outcome.seq))
            if value != EXPECTED[state.head.flow]:
                checkers.fail(ck.SAME_WORLD, f"the flow gave {value}, and not {EXPECTED[state.head.flow]}")
        elif state.status is RunStatus.FAILED:
            assert outcome is not None
            error = load_failure(self._payload(story, outcome.epoch, outcome.seq)).exception
            checkers.fail(ck.NO_ERROR, f"the flow, which cannot fail, failed: {error!r}")
        elif state.status is RunStatus.CANCELLED and run not in self.client.cancelled:
            checkers.fail(ck.NO_ERROR, "the run was cancelled, and nobody asked for it")
        elif state.status is RunStatus.CRASHED and state.head.losses < MAX_LOSSES:
            checkers.fail(ck.BOUNDED, f"the run crashed after {state.head.losses} losses of {MAX_LOSSES}")

    def _payload(self, story: Story, epoch: int, seq: Any) -> bytes:
        journal = read_journal(self.disk.durable, story.places[epoch], story.key.secret)
        return load_payload(self.disk.durable, record_at(journal, seq), where="the run")


def _at(fates: tuple[tuple[Fate, ...], ...], index: int) -> tuple[Fate, ...]:
    return fates[index] if index < len(fates) else ()
