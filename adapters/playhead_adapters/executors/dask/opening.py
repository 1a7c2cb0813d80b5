"""Opens the Dask executor: a loop thread, a cluster if none is named, a connection. Owns their order, and what is said when one fails."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from anyio.from_thread import start_blocking_portal

from playhead.errors import InfrastructureLost, PlayheadError, UsageError
from playhead.executors import DaskExecutor
from playhead.ports.executor import OpenExecutor
from playhead_adapters.executors.dask import versions
from playhead_adapters.executors.dask.cluster import Death, TemporaryCluster, temporary_cluster
from playhead_adapters.executors.dask.connection import Connection
from playhead_adapters.executors.dask.executor import DaskCalls
from playhead_adapters.executors.dask.library import distributed
from playhead_adapters.executors.dask.report import Watch


@asynccontextmanager
async def open_spec(spec: DaskExecutor) -> AsyncGenerator[OpenExecutor]:
    """The entry point `dask`.

    UsageError: what must agree between here and the workers does not, cluster_class does not load, or a report is asked for and the
    scheduler cannot make one. InfrastructureLost: no scheduler answers at the address, or the temporary cluster does not start.
    """
    with start_blocking_portal("asyncio", name="playhead-dask") as portal:
        opened: Future[OpenExecutor] = Future()
        opened.set_running_or_notify_cancel()  # from here on it has an end, whatever becomes of who waits
        leave = asyncio.Event()
        held = portal.start_task_soon(_hold, spec, opened, leave)
        try:
            yield await asyncio.wrap_future(opened)
        finally:
            portal.start_task_soon(leave.set)
            await asyncio.wrap_future(held)


async def _hold(spec: DaskExecutor, opened: Future[OpenExecutor], leave: asyncio.Event) -> None:
    """Keep the executor open until it is to be left; leaving ends the opening, too."""
    living = asyncio.create_task(_live(spec, opened, leave))
    leaving = asyncio.create_task(leave.wait())
    await asyncio.wait({living, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if not opened.done():
        living.cancel()
    leaving.cancel()
    try:
        await living
    except BaseException as error:
        if opened.done():
            raise
        opened.set_exception(error)


async def _live(spec: DaskExecutor, opened: Future[OpenExecutor], leave: asyncio.Event) -> None:
    async with _site(spec) as site:
        name = f"playhead-{secrets.token_hex(8)}"  # before every key: nobody else's on the scheduler is the same
        calls = DaskCalls(spec, site, name)
        connection = await site.connect(name, calls.expired)
        calls.use(connection)
        serving = asyncio.create_task(calls.serve(connection))
        serving.add_done_callback(calls.served)
        opened.set_result(calls)
        await leave.wait()
        await calls.close()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


@asynccontextmanager
async def _site(spec: DaskExecutor) -> AsyncGenerator[Site]:
    if spec.address is not None:
        yield Site(spec, spec.address, None)
        return
    async with temporary_cluster(spec, _security(spec)) as temporary:
        yield Site(spec, temporary.cluster, temporary)


class Site:
    """The cluster of one executor, there before or temporary."""

    def __init__(self, spec: DaskExecutor, target: Any, temporary: TemporaryCluster | None) -> None:
        self._spec = spec
        self._target = target
        self._temporary = temporary

    @property
    def ends_workers(self) -> bool:
        """A worker may be killed to stop the one call that it runs."""
        return self._temporary is not None and self._temporary.ends_workers

    async def death_of(self, address: str) -> Death | None:
        """How the worker that was there ended; None if nobody knows."""
        return None if self._temporary is None else await self._temporary.death_of(address)

    async def connect(self, name: str, on_expired: Callable[[int], None]) -> Connection:
        """See `open_spec` for its errors."""
        client: Any = distributed.Client(
            self._target,
            asynchronous=True,
            name=name,
            timeout=self._spec.connect_seconds,
            security=_security(self._spec),
            set_as_default=False,
            direct_to_workers=False,  # they may be in a network where the runner is not
        )
        try:
            await client
            if self._temporary is not None and self._temporary.workers:
                await client.wait_for_workers(self._temporary.workers, timeout=self._spec.connect_seconds)
            await _check_workers(client)
            watch = await Watch.begin(client) if self._spec.performance_report else None
            known: dict[str, Any] = await client.scheduler.identity(n_workers=0)
        except BaseException as error:
            with contextlib.suppress(Exception):  # it never came to life
                await client.close(timeout=1)
            if isinstance(error, PlayheadError) or not isinstance(error, Exception):
                raise
            raise _unreachable(self._spec, error) from error
        return Connection(client, name, known["total_threads"], on_expired, watch)


async def _check_workers(client: Any) -> None:
    """UsageError: a worker has another Python or Playhead than this process, or none. One that comes later checks itself."""
    here = versions.of_this_process()
    answers: dict[str, dict[str, str] | Exception] = await client.run(versions.of_this_process, on_error="return")
    for address, there in answers.items():
        if isinstance(there, OSError):
            continue  # it went while it was asked
        if isinstance(there, Exception):  # an ImportError, or Dask's word of one
            raise UsageError(
                f"the Dask worker {address} has no Playhead that it can load: {there}",
                hint=f"install 'playhead[dask]=={here['playhead']}' where the workers run",
            )
        if differing := versions.differing(there, here):
            raise UsageError(f"the Dask worker {address} has {differing}", hint=versions.SAME_VERSIONS)


def _security(spec: DaskExecutor) -> Any:
    """The same certificate for all that the runner opens: its client, and scheduler and workers of a temporary cluster."""
    if spec.security is None:
        return None
    given = spec.security
    own = {
        f"tls_{role}_{part}": path
        for role in ("client", "scheduler", "worker")
        for part, path in (("cert", given.client_cert), ("key", given.client_key or given.client_cert))
    }
    return distributed.Security(require_encryption=True, tls_ca_file=given.ca_file, **own)


def _unreachable(spec: DaskExecutor, error: Exception) -> InfrastructureLost:
    where = "its own cluster" if spec.address is None else f"a scheduler at {spec.address}"
    return InfrastructureLost(
        f"the Dask executor did not reach {where} within {spec.connect_seconds:g} s: {type(error).__name__}: {error}"
    )
