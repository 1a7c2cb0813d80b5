"""A temporary Dask cluster: opened and closed with the executor. Owns its processes, and knows how each of them died."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from playhead.errors import InfrastructureLost, UsageError
from playhead.executors import DaskExecutor
from playhead.executors.specs import usable_cores
from playhead_adapters.executors.dask.library import dask_config, distributed

DEATH_SECONDS: Final = 2.0  # for a nanny to see how its worker died, after the scheduler has seen that it did
CLOSE_SECONDS: Final = 10.0  # for workers to leave; then they are killed
MEMORY_TOPIC: Final = "worker-restart-memory"  # under which a nanny tells that it ends a worker

# A worker is given a task for each of its threads and no more: one that waited inside a worker could neither be withdrawn, nor
# begin in its turn elsewhere, nor be told from the one that killed its worker.
_SCHEDULING: Final = {"distributed.scheduler.worker-saturation": 1.0}


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker's process ended. `memory_limit`: it was ended because it took nearly all of so many bytes."""

    exit_code: int  # minus the signal, if one killed it
    memory_limit: int | None = None


class TemporaryCluster:
    """`cluster` is Dask's own. `workers`: how many it has from the beginning, where that is known. `ends_workers`: one may be killed
    to stop the one call that it runs.
    """

    def __init__(self, cluster: Any, *, workers: int, ends_workers: bool) -> None:
        self.cluster = cluster
        self.workers = workers
        self.ends_workers = ends_workers

    async def death_of(self, address: str) -> Death | None:
        """How the worker that was there ended; None if nobody knows. Waits a while for the news, as the scheduler's comes first."""
        nannies = [nanny for nanny in getattr(self.cluster, "workers", {}).values() if isinstance(nanny, WatchingNanny)]
        nanny = next((one for one in nannies if address in one.deaths or one.worker_address == address), None)
        return None if nanny is None else await nanny.death_of(address)


class WatchingNanny(distributed.Nanny):  # type: ignore[misc]  # it is untyped
    """Remembers how its workers ended, which Dask itself only writes into its logs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # pyright: ignore[reportUnknownMemberType] — it is untyped
        self.deaths: dict[str, Death] = {}
        self._too_large: set[str] = set()
        self._news = asyncio.Condition()

    async def death_of(self, address: str) -> Death | None:
        """How its worker at this address ended; None if that is not known in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEATH_SECONDS), self._news:
                await self._news.wait_for(lambda: address in self.deaths)
        return self.deaths.get(address)

    async def _on_worker_exit(self, exitcode: int) -> None:
        """Called by Nanny when a worker's process has ended, before it starts the next."""
        if self.worker_address is not None:
            limit = self.memory_manager.memory_limit if self.worker_address in self._too_large else None
            self.deaths[self.worker_address] = Death(exitcode, limit)
            async with self._news:
                self._news.notify_all()
        await super()._on_worker_exit(exitcode)  # pyright: ignore[reportUnknownMemberType] — as above

    def log_event(self, topic: str | Collection[str], msg: Any) -> None:
        """Called by Nanny, among others when it ends a worker for coming too near to its limit of memory."""
        if topic == MEMORY_TOPIC:
            self._too_large.add(msg["worker"])
        super().log_event(topic, msg)  # pyright: ignore[reportUnknownMemberType] — as above


@asynccontextmanager
async def temporary_cluster(spec: DaskExecutor, security: Any) -> AsyncGenerator[TemporaryCluster]:
    """Open a cluster as the spec describes it. UsageError: its class cannot be loaded. InfrastructureLost: it does not start."""
    with tempfile.TemporaryDirectory(prefix="playhead-dask-") as scratch:
        arguments: dict[str, Any] = {"asynchronous": True, "security": security}
        if spec.cluster_class is None:
            made: Any = distributed.LocalCluster
            arguments |= {
                "n_workers": spec.workers or usable_cores(),
                "threads_per_worker": spec.threads_per_worker,
                "worker_class": WatchingNanny,
                "local_directory": scratch,
                "dashboard_address": "127.0.0.1:0",  # many runs on one machine would quarrel about a port
                "scheduler_kwargs": {
                    "allowed_failures": 0,  # the engine decides what is tried again
                    "dashboard": "dashboard_address"
                    in spec.cluster_kwargs,  # a second to start, at a port that nobody knows
                },
            }
        else:
            made = _class_named(spec.cluster_class)
        arguments |= spec.cluster_kwargs
        try:
            with dask_config.set(_SCHEDULING):
                cluster = await made(**arguments)
        except Exception as error:
            raise InfrastructureLost(f"the Dask cluster {made.__name__} did not start: {error!r}") from error
        try:
            if spec.adapt_kwargs is not None:
                cluster.adapt(**spec.adapt_kwargs)
            is_ours = spec.cluster_class is None
            workers: int = arguments["n_workers"] if is_ours and spec.adapt_kwargs is None else 0
            yield TemporaryCluster(cluster, workers=workers, ends_workers=is_ours and spec.threads_per_worker == 1)
        finally:
            await cluster.close(timeout=CLOSE_SECONDS)


def _class_named(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"cluster_class {path!r} does not load here: {error}",
            hint="install its package where the runner runs, and name it as module:Class",
        ) from error
