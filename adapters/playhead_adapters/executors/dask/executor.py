"""The open Dask executor: calls out, answers in. Owns which call is where, and that each ends exactly once.

All of it lives on one loop, in a thread of its own, but for `submit` and `stop`. How one speaks to a scheduler, and what a worker
does, is not known here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from playhead.errors import InfrastructureLost, MisusedCall, PlayheadError
from playhead.executors import DaskExecutor, crossing
from playhead.executors.calls import Call
from playhead.executors.worker import Frame
from playhead.ports.executor import ExecutorFuture, Persist
from playhead_adapters.executors.dask.cluster import Death
from playhead_adapters.executors.dask.connection import Connection, SchedulerLost, WorkerKilled
from playhead_adapters.executors.dask.lanes import Lanes
from playhead_adapters.executors.dask.losses import broken, charged, worker_lost
from playhead_adapters.executors.dask.parcels import DaskCall, Parcel, Placing, Sizes, packed
from playhead_adapters.executors.dask.worker import Answers, Request

log = logging.getLogger("playhead.executors.dask")

AHEAD: Final = 4  # parcels sent for each that can run: Dask's client and scheduler hold back what they send to each other, for 10 ms
PACE_SECONDS: Final = 0.005  # between two graphs sent: each costs the scheduler more than a task in it does
GRAPH_BYTES: Final = 4_000_000  # of calls in one graph; Dask warns at ten million
RETRY_SECONDS: Final = 1.0  # between two attempts to find a scheduler that was lost
STOP_SECONDS: Final = 5.0  # for workers to hear that calls were stopped, when the executor closes


class Site(Protocol):
    """The cluster as the executor needs it, whoever opened it."""

    @property
    def ends_workers(self) -> bool:
        """A worker may be killed to stop the one call that it runs."""
        ...

    async def connect(self, name: str, on_expired: Callable[[int], None]) -> Connection:
        """Connect. PlayheadError: not now."""
        ...

    async def death_of(self, address: str) -> Death | None:
        """How the worker that was there ended; None if nobody knows."""
        ...


class DaskCalls:
    """See the module. Made and closed in its loop's thread; between them `serve` runs there."""

    def __init__(self, spec: DaskExecutor, site: Site, name: str) -> None:
        self._spec = spec
        self._site = site
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._width = 1
        self._lock = threading.Lock()  # guards the next three
        self._fresh: list[DaskCall] = []
        self._woken = False
        self._closed = False
        self._connection: Connection | None = None
        self._call_numbers = itertools.count()
        self._parcel_numbers = itertools.count(1)
        self._usual = Placing.of(spec.resources, spec.priority)
        self._waiting = Lanes(self._usual)
        self._calls: dict[int, DaskCall] = {}  # that were sent, and have not ended
        self._sent: dict[tuple[str, int], Parcel] = {}
        self._sizes = Sizes()
        self._backlog = AHEAD
        self._next_sending = 0.0
        self._sending: asyncio.TimerHandle | None = None
        self._to_stop: list[DaskCall] = []
        self._ended_workers: set[str] = set()  # by us: whoever was there with the one that was meant is not to blame
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the port ------------------------------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        if self._connection is not None:
            self._width = self._connection.width
        return self._width

    @property
    def backlog(self) -> int:
        return self._backlog + self._waiting.beside

    @property
    def shares_memory(self) -> bool:
        return False

    @property
    def persist(self) -> Persist:
        return self._spec.persist

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        return self._submit(DaskCall(self, fn, args, kwargs, _timeout), self._usual)

    def submit_placed(
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        _resources: Mapping[str, float],
        _priority: int,
        _timeout: timedelta | None = None,
        **kwargs: Any,
    ) -> ExecutorFuture[Any]:
        placing = Placing.of({**self._spec.resources, **_resources}, self._spec.priority + _priority)
        return self._submit(DaskCall(self, fn, args, kwargs, _timeout), placing)

    def _submit(self, call: DaskCall, placing: Placing) -> ExecutorFuture[Any]:
        call.placing = placing
        with self._lock:
            if self._closed:
                raise MisusedCall(
                    f"{call.name} was submitted to an executor that is closed",
                    hint="submit inside `async with spec.open() as executor:`",
                )
            self._fresh.append(call)
            if not self._woken:
                self._woken = True
                self._loop.call_soon_threadsafe(self._take_fresh)
        return call

    async def report(self) -> str | None:
        """See `ReportingExecutor`. InfrastructureLost: the scheduler does not make one, or is lost."""
        if not self._spec.performance_report:
            return None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._report(), self._loop))

    def stop(self, call: Call) -> None:
        """See `CallOwner`."""
        assert isinstance(call, DaskCall)
        with self._lock:
            if not self._closed:
                self._loop.call_soon_threadsafe(self._stop_soon, call)

    # --- its life ------------------------------------------------------------------------------------------------------

    def use(self, connection: Connection) -> None:
        """From now on this is where calls go."""
        self._connection = connection
        self._backlog = self.width * AHEAD * self._sizes.largest

    async def serve(self, connection: Connection) -> None:
        """Speak with the cluster in use until cancelled, with the next scheduler where one is lost."""
        while True:
            try:
                self._send()
                while True:
                    await self._hear(connection)
            except SchedulerLost:
                log.warning("the Dask scheduler was lost: what has not ended is sent again when it is back")
                self._send_again(call for parcel in self._sent.values() for call in parcel.calls)
                self._sent.clear()
            finally:
                self._connection = None
                await connection.close()
            connection = await self._connected_again()
            self.use(connection)

    def served(self, serving: asyncio.Task[None]) -> None:
        """`serve` has ended. If by an error of ours or Dask's, nobody waits for ever."""
        if serving.cancelled() or (error := serving.exception()) is None:
            return
        with self._lock:
            self._closed = True
            fresh, self._fresh = self._fresh, []
        for call in [*fresh, *self._waiting, *self._calls.values()]:
            call.fail(broken(call, error))

    async def close(self) -> None:
        """End every call, while `serve` still runs, and have the cluster stop what it can."""
        with self._lock:
            self._closed = True
            fresh = self._fresh
        running = list(self._calls.values())
        for call in [*fresh, *self._waiting, *running]:
            call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None and running:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._have_stopped(self._connection, running)
            except (OSError, TimeoutError) as error:
                log.warning("the cluster could not be told that its calls are over: %r", error)

    # --- out -----------------------------------------------------------------------------------------------------------

    def _take_fresh(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, []
            self._woken = False
        for call in fresh:
            frame = None if call.ended else crossing.request_of(call)
            if frame is not None:
                seconds = None if call.timeout is None else call.timeout.total_seconds()
                call.number = next(self._call_numbers)
                call.request = Request(call.number, frame.kind, bytes(frame.body), seconds)
                self._waiting.add(call)
        self._send()

    def _send(self) -> None:
        """Send what there is room for: now, or when it is time for the next graph."""
        if self._connection is None or self._connection.lost or self._sending is not None:
            return
        lanes = self._waiting.sendable(self._sent.values(), self.width * AHEAD)
        if not lanes:
            return
        if self._loop.time() < self._next_sending:
            self._sending = self._loop.call_at(self._next_sending, self._send_in_time)
            return
        self._next_sending = self._loop.time() + PACE_SECONDS
        for placing, waiting, places in lanes:
            graph: list[Parcel] = []
            size = self._sizes.size(len(waiting), places)
            for calls in packed(waiting, size, places):
                parcel = Parcel(self._name, next(self._parcel_numbers), calls)
                if graph and sum(sent.bytes for sent in graph) + parcel.bytes > GRAPH_BYTES:
                    self._send_graph(self._connection, graph, placing)
                    graph = []
                graph.append(parcel)
            if graph:
                self._send_graph(self._connection, graph, placing)

    def _send_in_time(self) -> None:
        self._sending = None
        self._send()

    def _send_graph(self, connection: Connection, parcels: list[Parcel], placing: Placing) -> None:
        for parcel in parcels:
            self._sent[parcel.key] = parcel
            self._calls.update((call.number, call) for call in parcel.calls)
        connection.send(parcels, resources=dict(placing.resources), priority=placing.priority)

    def _send_again(self, calls: Iterable[DaskCall]) -> None:
        """Before all that waits, and in their order."""
        again = list(calls)
        for call in again:
            self._calls.pop(call.number, None)
        self._waiting.put_back(again)

    # --- in ------------------------------------------------------------------------------------------------------------

    async def _hear(self, connection: Connection) -> None:
        """Hear what became of parcels."""
        killed: dict[WorkerKilled, list[Parcel]] = {}
        for parcel, fate in await connection.hear():
            self._sent.pop(parcel.key, None)
            match fate:
                case Answers():
                    self._take_answers(parcel, fate)
                case WorkerKilled():
                    killed.setdefault(fate, []).append(parcel)
                case _:
                    for call in parcel.calls:
                        self._over(call)
                        call.fail(broken(call, fate))
        for death, parcels in killed.items():
            await self._take_death(death, parcels)
        self._backlog = self.width * AHEAD * self._sizes.largest
        self._send()

    def _take_answers(self, parcel: Parcel, answers: Answers) -> None:
        frames: Mapping[int, Frame] = {answer.number: answer.frame for answer in answers.of_calls}
        for answer in answers.of_calls:
            self._sizes.note(answer.seconds)
        for call in parcel.calls:
            frame = frames.get(call.number)
            if frame is not None:
                self._over(call)
                call.worker = answers.worker
                crossing.end(call, frame)
        self._send_again(
            call for call in parcel.calls if call.number not in frames
        )  # or forget them, if they were stopped

    async def _take_death(self, death: WorkerKilled, parcels: list[Parcel]) -> None:
        """A worker died: the calls that it ran are lost, and those that waited there are sent again."""
        lost: list[DaskCall] = []
        if death.address not in self._ended_workers:
            lost = charged(parcels, death.threads)
            end = await self._site.death_of(death.address) if lost else None
            for call in lost:
                self._over(call)
                call.fail(worker_lost(call, death.address, end))
        left = [call for parcel in parcels for call in parcel.calls if call not in lost]
        for parcel in parcels:
            for call in parcel.calls:
                call.alone = call.alone or len(parcel.calls) > 1
        self._send_again(left)

    def _over(self, call: DaskCall) -> None:
        """Whatever is said of the call now, it is not sent again."""
        self._calls.pop(call.number, None)
        call.request = None

    async def _connected_again(self) -> Connection:
        while True:
            try:
                return await self._site.connect(self._name, self.expired)
            except PlayheadError as error:
                log.warning("%s", error)
                await asyncio.sleep(RETRY_SECONDS)

    def expired(self, number: int) -> None:
        """A worker says that a call has run too long."""
        call = self._calls.get(number)
        if call is not None:
            call.expire()

    async def _report(self) -> str:
        if self._connection is None or self._connection.watch is None:
            raise InfrastructureLost("the Dask scheduler is lost, and with it what it had seen of the run")
        return await self._connection.watch.page()

    # --- stopping ------------------------------------------------------------------------------------------------------

    def _stop_soon(self, call: DaskCall) -> None:
        """The call has ended by another hand. With those of the same moment it is stopped in one go."""
        if call.parcel is None or call.number not in self._calls:
            return
        self._to_stop.append(call)
        if len(self._to_stop) == 1:
            self._spawn(self._stop_all())

    async def _stop_all(self) -> None:
        calls, self._to_stop = self._to_stop, []
        if self._connection is None:
            return
        try:
            await self._have_stopped(self._connection, calls)
        except OSError as error:  # the scheduler is lost, and with it what it ran for us
            log.info("calls could not be stopped: %r", error)
        self._send()

    async def _have_stopped(self, connection: Connection, calls: list[DaskCall]) -> None:
        parcels = {call.parcel for call in calls if call.parcel is not None and call.parcel.over}
        await connection.forget([parcel for parcel in parcels if self._sent.pop(parcel.key, None) is not None])
        going_on = await connection.stop([call.number for call in calls])
        for call in calls:
            self._calls.pop(call.number, None)
        if going_on and self._site.ends_workers:
            self._ended_workers.update(going_on)
            await connection.end_workers(list(going_on))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
