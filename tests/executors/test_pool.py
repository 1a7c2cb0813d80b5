"""An executor over somebody else's pool: it conforms, a fault of the pool is a loss, and a call that is stuck holds nobody up."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, cast

import pytest

from playhead import flow
from playhead.errors import InfrastructureLost, UsageError
from playhead.executors import Executor, specs
from playhead.executors.pool import MAX_ABANDONED, open_pool
from playhead.flows.flow import Flow
from playhead.ports.executor import OpenExecutor
from playhead.testing.executors import check_executor
from tests.packages import install


class Threads(Executor, frozen=True):
    """Of the tests: an entry point finds what opens it."""

    kind: Literal["planted-pool"] = "planted-pool"
    workers: int = 3


@asynccontextmanager
async def open_spec(spec: Threads) -> AsyncGenerator[OpenExecutor]:
    pool = ThreadPoolExecutor(spec.workers + MAX_ABANDONED, thread_name_prefix="theirs")
    async with open_pool(pool, kind=spec.kind, width=spec.workers) as executor:
        yield executor


class Broken:
    """A pool whose machine is gone."""

    is_shut = False

    def submit(self, fn: Callable[[], None], /) -> Future[None]:
        raise ConnectionResetError("no pool")

    def shutdown(self, wait: bool = True) -> None:
        self.is_shut = True


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package had brought it."""
    install(tmp_path, "playhead-planted", {"playhead.executors: planted-pool": f"{__name__}:open_spec"}, {})
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]  # pytest does not say what it takes
    specs._opener.cache_clear()  # pyright: ignore[reportPrivateUsage] — a lookup of before must not stay


@pytest.mark.usefixtures("brought")
async def test_an_executor_over_a_pool_conforms() -> None:
    results = await check_executor(Threads())
    assert [result for result in results if not result.passed] == []
    assert len(results) > 20


@pytest.mark.usefixtures("brought")
async def test_the_pool_computes() -> None:
    async with Threads().open() as executor:
        assert (await executor.submit(threading.current_thread)).name.startswith("theirs")


async def test_a_fault_of_the_pool_is_a_loss_of_infrastructure() -> None:
    pool = Broken()
    async with open_pool(pool, kind="broken", width=1) as executor:
        with pytest.raises(InfrastructureLost, match="ConnectionResetError: no pool"):
            await executor.submit(max, 1, 2)
    assert pool.is_shut


async def test_the_same_error_of_a_call_is_the_calls_own() -> None:
    def fails() -> None:
        raise ConnectionResetError("of the call")

    pool = ThreadPoolExecutor(1 + MAX_ABANDONED)
    async with open_pool(pool, kind="theirs", width=1) as executor:
        with pytest.raises(ConnectionResetError, match="of the call"):
            await executor.submit(fails)


def test_a_flow_names_an_executor_of_another_package() -> None:
    @flow(executor=Threads(workers=2))
    def named() -> None: ...

    assert named.executor == Threads(workers=2)


def test_what_is_no_spec_or_of_no_name_is_told_where_the_flow_is_written() -> None:
    def named() -> None: ...

    for wrong in ("thread", Threads, ThreadPoolExecutor):
        with pytest.raises(UsageError, match=r"flow named: executor=.* is none") as caught:
            Flow(named, executor=cast("Executor", wrong))
        assert "ThreadExecutor(...)" in str(caught.value.hint)
    with pytest.raises(UsageError, match="'my pool' cannot be the name of a kind of executor"):
        Flow(named, executor=Executor(kind="my pool"))
