"""Worker processes that may see the run's storage themselves, as a cluster's may: for tests of what a runner makes of that."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from playhead.executors import ProcessExecutor
from playhead.ports.executor import ClusterExecutor, ExecutorFuture, OpenExecutor, Persist


class RemoteWorkers(ProcessExecutor, frozen=True):
    """A spec."""

    persist: Persist = "auto"

    def open(self) -> AbstractAsyncContextManager[OpenExecutor]:
        return _opened(self)


@asynccontextmanager
async def _opened(spec: RemoteWorkers) -> AsyncGenerator[OpenExecutor]:
    async with ProcessExecutor(workers=spec.workers or 2).open() as processes:
        remote = _Remote(processes, spec.persist)
        assert isinstance(remote, ClusterExecutor), (
            "else the runner would take it for something else, and nothing were tested"
        )
        yield remote


class _Remote:
    """A `ClusterExecutor`."""

    shares_memory = False

    def __init__(self, processes: OpenExecutor, persist: Persist) -> None:
        self._processes = processes
        self.persist = persist

    @property
    def width(self) -> int:
        return self._processes.width

    @property
    def backlog(self) -> int:
        return self._processes.backlog

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        return self._processes.submit(fn, *args, _timeout=_timeout, **kwargs)

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
        """These workers have no resources; as on threads, calls begin in their order."""
        return self.submit(fn, *args, _timeout=_timeout, **kwargs)
