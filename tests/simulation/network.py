"""The network between the processes and the server, and the server itself. Owns what gets lost, late and doubled.

The server is the real service over a memory log whose records outlive it: it may be killed between any two of its steps, and is
started again over the same records.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from playhead.core.names import LogId, Micros
from playhead.errors import ServerUnreachable
from playhead.log import Log
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.server import Beat, HeartbeatRequest, Reported, ReportRequest, Started, StartRequest
from playhead.ports.store import Append, Outcome, Recorded
from playhead.service import Service, ServiceSettings
from tests.simulation.fibers import Process, Schedule, current_fiber
from tests.simulation.interposed import WALL_START

LEASE_SECONDS: Final = 4.0
SETTINGS: Final = ServiceSettings(
    lease_seconds=LEASE_SECONDS, sweep_seconds=0.5, launch_timeout_seconds=20.0, agent_silence_seconds=1e9
)
GIVE_UP_SECONDS: Final = 6.0  # after which a request without an answer counts as lost

Call = Callable[[Service], Awaitable[Any]]


@dataclass(frozen=True)
class Losses:
    """How likely each thing goes wrong with one request, and how late things come, in seconds."""

    request: float = 0.0
    answer: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    latest: float = 2 * LEASE_SECONDS


class Server:
    """The service's process. `start` begins one, `kill`ed or not before."""

    def __init__(self, schedule: Schedule, rng: random.Random, on_commit: Callable[[Sequence[Recorded]], None]) -> None:
        self._schedule = schedule
        self._rng = rng
        self._on_commit = on_commit
        self.records = MemoryRecords(log_id=LogId("5151515151515151"))
        self.process = Process("server")
        self.service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lives = 0

    def start(self) -> None:
        self._lives += 1
        self.process = Process(f"server.{self._lives}")
        self._schedule.spawn(self.process, "loop", lambda: asyncio.run(self._serve()))

    def handle(self, call: Call, answer: Callable[[Any, BaseException | None], None]) -> None:
        """Carry the request out, if there is a server now. In a timer: takes no time."""
        service, loop, process = self.service, self._loop, self.process
        if service is None or loop is None or process.dead:
            return

        async def carry_out() -> None:
            value, failure = None, None
            try:
                value = await call(service)
            except Exception as error:  # the answer is what was raised
                failure = error
            if not process.dead:
                answer(value, failure)

        loop.call_soon_threadsafe(lambda: keep(loop.create_task(carry_out())))

        def keep(task: asyncio.Task[None]) -> None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.service = None
        backend = _Backend(self.records, self._schedule, self._on_commit)
        async with (
            Log.open(backend) as log,
            Service(log, settings=SETTINGS, clock=_Clock(self._schedule, self._rng)) as it,
        ):
            self._loop, self.service = asyncio.get_running_loop(), it
            await asyncio.Event().wait()


class Network:
    """Requests on their way. `losses` may change at any time; `cut_off(process)` says whom nothing reaches."""

    def __init__(self, schedule: Schedule, rng: random.Random, server: Server) -> None:
        self._schedule = schedule
        self._rng = rng
        self._server = server
        self._cut_off: dict[Process, float] = {}
        self.losses = Losses()
        self.on_answer: Callable[[str, Any, Any], None] = lambda _what, _request, _answer: None

    def cut_off(self, process: Process, seconds: float) -> None:
        self._cut_off[process] = self._schedule.now + seconds

    def ask(self, what: str, request: Any, call: Call) -> Future[Any]:
        """Send a request from the fiber that runs; the future gets its answer, or ServerUnreachable."""
        fiber = current_fiber()
        assert fiber is not None
        asker = fiber.process
        self._schedule.pause(f"ask {what}")
        future: Future[Any] = Future()

        def take(value: Any, error: BaseException | None) -> None:
            if not (future.done() or asker.dead):
                self._schedule.trace.append(
                    (self._schedule.now, asker.name, f"answer to {what}: {_told(value, error)}")
                )
                future.set_exception(error) if error is not None else future.set_result(value)

        def answered(value: Any, error: BaseException | None) -> None:
            if error is None:
                self.on_answer(what, request, value)
            if not (self._lost(asker) or self._rng.random() < self.losses.answer):
                self._schedule.at(self._schedule.now + self._way(), lambda: take(value, error))

        def arrives() -> None:
            if not self._lost(asker):
                self._server.handle(call, answered)

        copies = 0 if self._rng.random() < self.losses.request else 1 + (self._rng.random() < self.losses.doubled)
        for _ in range(copies):
            self._schedule.at(self._schedule.now + self._way(), arrives)
        gives_up = ServerUnreachable(f"no answer to {what}", hint="this is simulated")
        self._schedule.at(self._schedule.now + GIVE_UP_SECONDS, lambda: take(None, gives_up))
        return future

    def _way(self) -> float:
        if self._rng.random() < self.losses.late:
            return self._rng.uniform(0.0, self.losses.latest)
        return self._rng.uniform(0.001, 0.02)

    def _lost(self, process: Process) -> bool:
        return self._cut_off.get(process, 0.0) > self._schedule.now


class Api:
    """What a runner asks of its server, over the network. The part of `ServerApi` that a runner uses."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def history(self, run: str) -> AsyncIterator[Recorded]:
        async def all_of_it(service: Service) -> list[Recorded]:
            return [recorded async for recorded in service.history(run)]

        for recorded in await asyncio.wrap_future(self._network.ask("history", run, all_of_it)):
            yield recorded

    async def start(self, run: str, request: StartRequest) -> Started:
        answer: Started = await self._ask("start", request, lambda service: service.start(run, request))
        return answer

    async def heartbeat(self, run: str, request: HeartbeatRequest) -> Beat:
        answer: Beat = await self._ask("heartbeat", request, lambda service: service.heartbeat(run, request))
        return answer

    async def report(self, run: str, request: ReportRequest) -> Reported:
        answer: Reported = await self._ask("report", request, lambda service: service.report(run, request))
        return answer

    async def _ask(self, what: str, request: Any, call: Call) -> Any:
        return await asyncio.wrap_future(self._network.ask(what, request, call))


class _Backend(MemoryBackend):
    """The log: a commit may be the server's last act, with or without having happened."""

    def __init__(
        self, records: MemoryRecords, schedule: Schedule, on_commit: Callable[[Sequence[Recorded]], None]
    ) -> None:
        super().__init__(records)
        self._events = records.events
        self._schedule = schedule
        self._on_commit = on_commit

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self._schedule.pause("commit")
        before = len(self._events)
        outcomes = await super().commit(batch)
        self._on_commit(self._events[before:])
        self._schedule.pause(f"committed {', '.join(event.type for event in self._events[before:])}")
        return outcomes


class _Clock:
    def __init__(self, schedule: Schedule, rng: random.Random) -> None:
        self._schedule = schedule
        self._rng = rng

    def now(self) -> Micros:
        return Micros(round((WALL_START + self._schedule.now) * 1e6))

    def monotonic(self) -> float:
        return self._schedule.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)

    def new_id(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"


def _told(value: Any, error: BaseException | None) -> str:
    return type(error).__name__ if error is not None else type(value).__name__
