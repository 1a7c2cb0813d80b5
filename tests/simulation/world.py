"""One simulated world: a server, an agent, a disk, and the runners of one run, from its asking to its end. `simulate` is the door.

The runners are the real runner over the interposed library. The agent here is a few lines: it claims the run whenever it is ready,
launches a runner, and reports the deaths that it sees.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, cast

import pytest

from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.names import Epoch, RunId
from playhead.core.state import RunStatus
from playhead.errors import PlayheadError, Refused, RunnerEnded, ServerUnreachable, StorageUnavailable
from playhead.flows.flow import Flow
from playhead.journal.reader import load_payload, read_journal, record_at
from playhead.ports.server import (
    AgentHello,
    Claimed,
    ClaimRequest,
    DiedRequest,
    RunRequest,
    ServerApi,
    StartRequest,
)
from playhead.runner import payloads
from playhead.runner.boottime import boot_time
from playhead.runner.execution import Execution, Grant
from playhead.runner.loopthread import LoopThread, collected
from playhead.runner.outcome import Outcome
from playhead.runner.recall import predecessors
from playhead.trust.failure import load_failure
from playhead.trust.keys import MasterKey
from playhead.trust.payload import load
from tests.simulation import checkers as ck
from tests.simulation.checkers import Checkers, Violation
from tests.simulation.disk import Disk
from tests.simulation.executor import LATEST_SECONDS, Workers
from tests.simulation.fibers import Fiber, Process, Schedule, Stuck
from tests.simulation.flows import EXPECTED, FLOWS, Ledger, keeping
from tests.simulation.interposed import interposed
from tests.simulation.network import Api, Call, Network, Server
from tests.simulation.weather import Fate, Fault, Weather

RUN: Final = RunId(f"{0xF10:032x}")
AGENT: Final = "otter"
SEAL: Final = "5e" * 16
KEY: Final = MasterKey(bytes(range(32)))
INLINE_BYTES: Final = 300  # small, so that results of both kinds occur
PATIENCE_SECONDS: Final = 400.0  # virtual time in which every run must end: all faults together are over much sooner
LOOK_SECONDS: Final = 0.3  # between two looks of the agent

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Told:
    """What became of a world."""

    seed: int
    weather: Weather
    violation: Violation | None
    status: RunStatus | None
    epochs: int
    seconds: float  # of virtual time
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Two worlds of one seed have the same."""
        return sha256("\n".join(self.trace).encode()).hexdigest()

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.violation}", f"{self.weather}", *self.trace[-80:]]
        return "\n  ".join([*lines, f"again: python -m tests.simulation {self.seed}"])


def simulate(seed: int, weather: Weather | None = None, plant: Plant | None = None) -> Told:
    """Live through the world of this seed. `plant` may change the product first; what it changes is undone."""
    rng = random.Random(seed)
    weather = weather or Weather.of(rng)
    world = World(rng, weather)
    with interposed(world.schedule, world.rng) as patch:
        patch.setattr(payloads, "INLINE_BYTES", INLINE_BYTES)
        if plant is not None:
            plant(patch)
        world.checkers.observe(patch)
        world.live()
    state = world.checkers.state
    return Told(
        seed=seed,
        weather=weather,
        violation=world.checkers.first,
        status=state.status if state is not None else None,
        epochs=state.head.epoch if state is not None else 0,
        seconds=world.schedule.now,
        trace=tuple(f"{at:9.3f} {who}: {what}" for at, who, what in world.schedule.trace),
    )


@dataclass
class World:
    rng: random.Random
    weather: Weather
    runners: list[Process] = field(default_factory=list[Process])
    done: bool = False

    def __post_init__(self) -> None:
        weather, rng = self.weather, self.rng
        self.schedule = Schedule(rng, switching=weather.switching)
        self.schedule.before_step = self._before_step
        self.schedule.on_death = self._on_death
        self.disk = Disk(self.schedule, rng, failing=weather.failing_flushes)
        self.checkers = Checkers(RUN, KEY.run_key(RUN), self.disk)
        self.server = Server(self.schedule, rng, self.checkers.on_commit)
        self.network = Network(self.schedule, rng, self.server)
        self.network.losses = weather.losses
        self.network.on_answer = self.checkers.on_answer
        self.workers = Workers(self.schedule, rng, weather.shares_memory, weather.losing_workers)
        self.workers.on_launch = self.checkers.on_launch
        self.flow: Flow[..., Any] = FLOWS[weather.flow]
        self.agent = Process("agent")
        self._exits: dict[Process, float] = {}  # when a runner's end was seen
        self._steps: Counter[tuple[Process, Fate]] = Counter()  # that a fate has waited for
        self._seen_dead: set[Process] = set()

    def live(self) -> None:
        executor, self.flow.executor = self.flow.executor, cast("Any", self.workers)
        ledger = Ledger(self._on_execution, self.checkers.on_seen)
        try:
            with keeping(ledger):
                self.server.start()
                self.schedule.spawn(self.agent, "main", self._custody)
                if self.weather.cancel_after is not None:
                    self.schedule.spawn(Process("client"), "main", self._cancel)
                self.schedule.run(lambda: self.done or self.checkers.first is not None)
                if self.checkers.first is None:
                    self._look_back()
        except Stuck as stuck:
            self.checkers.fail(ck.PROGRESS, f"all wait, and nothing is due: {stuck}")
        finally:
            self.schedule.end()
            self.flow.executor = executor

    def _on_execution(self, fiber: Fiber, key: str, attempt: int) -> None:
        """A task's function runs, and takes its time: one worker performs many, and others must come in between."""
        self.checkers.on_execution(fiber, key, attempt)
        self.schedule.sleep(self.rng.uniform(0.0, LATEST_SECONDS))

    # --- the agent and the client --------------------------------------------------------------------------------------------------

    def _custody(self) -> None:
        self._ask_for_the_run()
        while not (self._ended() and all(runner.dead or not runner.fibers for runner in self.runners)):
            if self.schedule.now > PATIENCE_SECONDS:
                left = [fiber.name for runner in self.runners if not runner.dead for fiber in runner.fibers]
                self.checkers.fail(
                    ck.PROGRESS, f"after {self.schedule.now:.0f} s the run is {self._status()}; alive: {left}"
                )
                return
            if self._status() is RunStatus.READY:
                self._claim_and_launch()
            self._report_deaths()
            self.schedule.sleep(LOOK_SECONDS)
        self.done = True

    def _ask_for_the_run(self) -> None:
        registered = ev.FlowRegistered(
            flow=self.flow.name, seal=SEAL, sealed_by=ev.SealedBy.MODULE, executor="simulated", run_config="universal",
            storage=self.disk.durable.id, key_id=KEY.id,
        )  # fmt: skip
        joined = ev.AgentJoined(
            agent=AGENT, kind="local", capacity=10, storages=(self.disk.durable.id,), key_ids=(KEY.id,), python="3.11",
            version="0.1",
        )  # fmt: skip
        self._until_answered("register", lambda service: service.register_flow(registered))
        self._until_answered("join", lambda service: service.join(AgentHello(joined=joined)))
        asked = RunRequest(run=RUN, flow=self.flow.name, seal=SEAL)
        self._until_answered("ask", lambda service: service.ask_run(asked))

    def _claim_and_launch(self) -> None:
        request = ClaimRequest(agent=AGENT, claim=f"{self.rng.getrandbits(64):016x}")
        try:
            claimed: Claimed = self._until_answered("claim", lambda service: service.claim(RUN, request))
        except Refused:
            return  # it is not ready any more
        if claimed.crashed:
            return
        index = len(self.runners)
        process = Process(
            f"runner.{claimed.epoch}", claimed.epoch, skew=self.weather.skews[index % 10] if self.weather.skews else 0.0
        )
        self.runners.append(process)
        self.schedule.spawn(process, "main", lambda: self._run(process, claimed))

    def _report_deaths(self) -> None:
        """A dead runner is reported with proof, or its lease decides. One that ended by itself is always seen."""
        for runner in self.runners:
            if runner in self._seen_dead or not (runner.dead or runner in self._exits):
                continue
            self._seen_dead.add(runner)
            if runner in self._exits or self.rng.random() < self.weather.proofs:
                died = (
                    DiedRequest(epoch=runner.epoch, signal=9)
                    if runner.dead
                    else DiedRequest(epoch=runner.epoch, exit_code=75)
                )
                self._until_answered("died", lambda service, died=died: service.died(RUN, died))  # type: ignore[misc]  # mypy cannot infer lambdas with defaults

    def _cancel(self) -> None:
        assert self.weather.cancel_after is not None
        self.schedule.sleep(self.weather.cancel_after)
        while self._status() is None:
            self.schedule.sleep(LOOK_SECONDS)
        self._until_answered("cancel", lambda service: service.cancel(RUN))

    def _until_answered(self, what: str, call: Call) -> Any:
        while True:
            try:
                return self.network.ask(what, None, call).result()
            except ServerUnreachable:
                self.schedule.sleep(LOOK_SECONDS)

    # --- a runner -------------------------------------------------------------------------------------------------------------------

    def _run(self, process: Process, claimed: Claimed) -> None:
        """What the runner's process does with its order."""
        grant = Grant(
            run=RUN, flow=claimed.flow, epoch=Epoch(claimed.epoch), grant=claimed.grant,
            scheduled_for=claimed.scheduled_for, key=KEY.run_key(RUN), storage=self.disk.seen_by(process),
        )  # fmt: skip
        api = cast("ServerApi", Api(self.network))
        try:
            with LoopThread("link") as link:
                outcome = self._execute(api, link, grant)
        except RunnerEnded as error:
            self._exit(process, f"over: {error.message}")
            self.checkers.on_over(process, error)
        except PlayheadError as error:
            self._exit(process, f"ended by {type(error).__name__}: {error.message}")
            if not self._explained(error, process):
                self.checkers.fail(ck.NO_ERROR, f"{process.name}: {error!r}")
        else:
            self._exit(process, f"told {outcome.status}")
            self.checkers.on_told(process, outcome.status)

    def _execute(self, api: ServerApi, link: LoopThread, grant: Grant) -> Outcome:
        earlier = predecessors(RUN, link.call(collected(api.history(RUN))), grant.epoch)
        sent_at = boot_time()
        request = StartRequest(
            epoch=grant.epoch, grant=grant.grant, storage=grant.storage.id, python="3.11", key_scheme=KEY_SCHEME
        )
        started = link.call(api.start(RUN, request))
        return Execution(grant, api, link, started, sent_at).execute(lambda: (self.flow, {}), earlier)

    def _exit(self, process: Process, told: str) -> None:
        self.schedule.trace.append((self.schedule.now, process.name, told))
        self._exits[process] = self.schedule.now

    def _explained(self, error: PlayheadError, process: Process) -> bool:
        """Whether the weather made it end like this."""
        if isinstance(error, StorageUnavailable):
            return self.disk.failed > 0
        return isinstance(error, ServerUnreachable) and process.epoch not in self.checkers.counted

    # --- faults ---------------------------------------------------------------------------------------------------------------------

    def _before_step(self, fiber: Fiber, label: str) -> None:
        process = fiber.process
        for fate in self._fates(process):
            if label.startswith(fate.where):
                self._steps[process, fate] += 1
                if self._steps[process, fate] == fate.at_step:
                    self._strike(fiber, fate)

    def _fates(self, process: Process) -> tuple[Fate, ...]:
        if process in self.runners:
            index = self.runners.index(process)
            return self.weather.fates[index] if index < len(self.weather.fates) else ()
        return self.weather.server if process.name == "server.1" else ()

    def _strike(self, fiber: Fiber, fate: Fate) -> None:
        process = fiber.process
        match fate.fault:
            case Fault.KILL:
                self.schedule.kill(process)
                if process.name == "server.1":
                    self.schedule.at(self.schedule.now + fate.seconds, self.server.start)
            case Fault.STOP:
                self.schedule.stop(process, fate.seconds)
            case Fault.CUT_OFF:
                self.network.cut_off(process, fate.seconds)
            case Fault.LATE:
                self.schedule.sleep(fate.seconds)

    def _on_death(self, fiber: Fiber, error: BaseException) -> None:
        self.checkers.fail(ck.NO_ERROR, f"{fiber.name} died of {error!r}")

    # --- the end --------------------------------------------------------------------------------------------------------------------

    def _status(self) -> RunStatus | None:
        return self.checkers.state.status if self.checkers.state is not None else None

    def _ended(self) -> bool:
        status = self._status()
        return status is not None and status.terminal

    def _look_back(self) -> None:
        checkers = self.checkers
        checkers.at_the_end()
        status, state = self._status(), checkers.state
        assert state is not None
        outcome = state.head.outcome
        if status is RunStatus.SUCCEEDED:
            assert outcome is not None
            value = load(self._payload(outcome.epoch, outcome.seq))
            if value != EXPECTED[self.flow.name]:
                checkers.fail(ck.SAME_WORLD, f"the flow gave {value}, and not {EXPECTED[self.flow.name]}")
        elif status is RunStatus.FAILED:
            assert outcome is not None
            error = load_failure(self._payload(outcome.epoch, outcome.seq)).exception
            checkers.fail(ck.NO_ERROR, f"the flow, which cannot fail, failed: {error!r}")
        elif status is RunStatus.CANCELLED and self.weather.cancel_after is None:
            checkers.fail(ck.NO_ERROR, "the run was cancelled, and nobody asked for it")

    def _payload(self, epoch: int, seq: Any) -> bytes:
        journal = read_journal(self.disk.durable, self.checkers.places[epoch], KEY.run_key(RUN).secret)
        return load_payload(self.disk.durable, record_at(journal, seq), where="the run")
