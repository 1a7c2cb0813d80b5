"""A connection to a Dask scheduler: sends parcels, and hears what became of them. Owns Dask's client and its futures; decides nothing."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from playhead_adapters.executors.dask import versions, worker
from playhead_adapters.executors.dask.library import CancelledByDask, KilledWorker, dask_config, distributed, task_spec
from playhead_adapters.executors.dask.parcels import Parcel
from playhead_adapters.executors.dask.report import Watch
from playhead_adapters.executors.dask.worker import Answers

CLOSE_SECONDS: Final = 2.0  # for the scheduler to hear that the client leaves
# Of a priority, for each second: less than one in 300 years, and more than rounding for each graph
EARLIER: Final = 1e-10
SETTLE_SECONDS: Final = 0.02  # for all that died with a worker to be heard of: who is to blame is told by who was there
LARGE_BYTES: Final = 8_000_000  # of a parcel that Dask would warn of; it is the user's argument, and must cross somehow


@dataclass(frozen=True, slots=True)
class WorkerKilled:
    """The worker at this address died while it had the parcel. It computes so many tasks at a time."""

    address: str
    threads: int


class SchedulerLost(Exception):  # said to the executor only, which connects again
    """What was sent and not heard of is lost."""


Fate = Answers | WorkerKilled | BaseException


class Connection:
    """`topic` names the executor to its workers, which have so many `threads` now. `on_expired` is called with the number of each call
    that has run too long. `watch` is what the report is made of, where one is wanted.
    """

    def __init__(
        self, client: Any, topic: str, threads: int, on_expired: Callable[[int], None], watch: Watch | None = None
    ) -> None:
        self.watch = watch
        self._client = client
        self._topic = topic
        self._threads = threads
        self._heard: Any = distributed.as_completed(loop=client.loop)
        self._parcels: dict[Any, Parcel] = {}  # by their futures
        self._some = asyncio.Event()
        self._line: Any = client.scheduler_comm
        self._lost = False

        def note(event: tuple[float, dict[str, int]]) -> None:
            on_expired(event[1]["expired"])

        client.subscribe_topic(topic, note)

    @property
    def width(self) -> int:
        """The most that the workers have run at a time since this was opened: one that dies is about to be replaced."""
        known: dict[str, Any] = self._client.scheduler_info()  # of a while ago
        self._threads = max(self._threads, known.get("total_threads", 0))
        return max(1, self._threads)

    @property
    def lost(self) -> bool:
        """The scheduler is not the one that was connected to: Dask's client may have found another, which knows nothing of us."""
        if self._client.scheduler_comm is not self._line or self._line.comm.closed():
            self._lost = True
            self._some.set()
        return self._lost

    def send(self, parcels: Sequence[Parcel], *, resources: dict[str, float], priority: int) -> None:
        """Have the parcels computed, in this order, after those sent before."""
        bodies = [pickle.dumps([call.request for call in parcel.calls], pickle.HIGHEST_PROTOCOL) for parcel in parcels]
        if sum(map(len, bodies)) > LARGE_BYTES:
            with dask_config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
                futures = self._submit(bodies, parcels, resources, priority)
        else:
            futures = self._submit(bodies, parcels, resources, priority)
        self._parcels.update(zip(futures, parcels, strict=True))
        self._heard.update(futures)
        self._some.set()

    async def hear(self) -> list[tuple[Parcel, Fate]]:
        """Wait until something has become of a parcel or of several. SchedulerLost: nothing more will."""
        while self._heard.is_empty() and not self._lost:
            self._some.clear()
            await self._some.wait()
        if self._lost:
            raise SchedulerLost
        futures: list[Any] = [await anext(self._heard), *self._heard.next_batch(block=False)]
        if any(future.status == "error" for future in futures):
            await asyncio.sleep(SETTLE_SECONDS)
            futures += self._heard.next_batch(block=False)
        fates = await self._fates(futures)
        heard: list[tuple[Parcel, Fate]] = []
        for future, fate in zip(futures, fates, strict=True):
            parcel = self._parcels.pop(future, None)
            if parcel is None:
                continue  # it was forgotten
            if fate is None:
                self._lost = True
            else:
                heard.append((parcel, fate))
        return heard

    async def forget(self, parcels: Sequence[Parcel]) -> None:
        """Nobody waits for these any more: Dask begins none of them from now on."""
        given_up = set(parcels)
        futures = [future for future, parcel in self._parcels.items() if parcel in given_up]
        for future in futures:
            del self._parcels[future]
        await self._client.cancel(futures)

    async def stop(self, numbers: Sequence[int]) -> dict[str, list[int]]:
        """Stop these calls wherever they run. Tells by the worker's address which of them go on for nobody, in a thread."""
        left: dict[str, list[int]] = await self._client.run(worker.stop, self._topic, list(numbers), on_error="ignore")
        return {address: going_on for address, going_on in left.items() if going_on}

    async def end_workers(self, addresses: Sequence[str]) -> None:
        """Kill these workers."""
        await self._client.run(worker.end_process, workers=list(addresses), on_error="ignore")

    async def close(self) -> None:
        """Leave the scheduler. What it still computes for us it forgets."""
        await self._client.close(timeout=CLOSE_SECONDS)

    def _submit(
        self, bodies: list[bytes], parcels: Sequence[Parcel], resources: dict[str, float], priority: int
    ) -> list[Any]:
        # As a producer of data a task waits at the scheduler until a thread is free, also where there are but few. Dask would
        # else send some to wait behind others in a worker, where they would not begin in their turn.
        said = versions.said()
        graph = {
            parcel.key: task_spec.Task(parcel.key, worker.compute, self._topic, said, body, _data_producer=True)
            for parcel, body in zip(parcels, bodies, strict=True)
        }
        futures: list[Any] = self._client.get(
            graph,
            list(graph),
            sync=False,
            resources=resources or None,
            # What was sent earlier goes first, whoever of one priority sent it; two graphs may overtake each other on their way.
            priority=priority - time.time() * EARLIER,
            fifo_timeout="0 ms",  # else Dask would begin what is sent within it in an order of its own
        )
        return futures

    async def _fates(self, futures: list[Any]) -> list[Fate | None]:
        finished = [future for future in futures if future.status == "finished"]
        try:
            answers: dict[Any, Fate] = dict(
                zip(finished, await self._client.gather(finished, direct=False), strict=True)
            )
        except CancelledByDask:  # the scheduler went between two lines
            answers = {}
        return [answers[future] if future in answers else await _fate_of(future) for future in futures]


async def _fate_of(future: Any) -> Fate | None:
    """What became of a parcel without answers. None: Dask has let go of it, so the scheduler is lost, or somebody cancelled the key."""
    if future.status != "error":
        return None
    error: Any = await future.exception()
    if isinstance(error, KilledWorker):
        return WorkerKilled(error.last_worker.address, error.last_worker.nthreads)
    failure: BaseException = error
    return failure
