"""Programs as users write them, with the types that mypy and pyright must find. Read by `make types`; nothing here is run."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, Literal, assert_type
from uuid import UUID

import playhead
from playhead import (
    Client,
    Cron,
    CurrentRun,
    Engine,
    Every,
    Flow,
    FlowRun,
    LocalAgent,
    LocalExecutor,
    LocalRun,
    ProcessExecutor,
    Task,
    TaskFuture,
    TaskFutures,
    ThreadExecutor,
    UniversalRun,
    current_run,
    flow,
    task,
    unmapped,
)
from playhead.core.views import RunView
from playhead.executors import Executor


@task
def parse(page: bytes) -> list[str]:
    return page.decode().split()


@task(retries=3, retry_delay=timedelta(seconds=2), retry_on=(OSError, TimeoutError), timeout=timedelta(minutes=1))
async def fetch(url: str, *, tries: int = 1) -> bytes:
    return url.encode() * tries


@task(name="add", retries=2, retry_delay=[timedelta(seconds=1), timedelta(seconds=9)], retry_jitter=0.5)
def add(left: int, right: int = 0) -> int:
    return left + right


@task(retry_delay=lambda retry: timedelta(seconds=2**retry), retry_on=lambda error: "busy" in str(error))
def nothing() -> None: ...


@flow
def count(texts: list[str], *, least: int = 1) -> dict[str, int]:
    return {text: len(text) for text in texts if len(text) >= least}


@flow(
    name="crawl",
    executor=ProcessExecutor(),
    run_config=LocalRun(labels={"gpu"}),
    schedule=Cron("0 6 * * *", tz="Europe/Paris"),
    log_prints=True,
)
async def crawl(urls: list[str]) -> int:
    """The program of the design."""
    pages = fetch.map(urls)
    links = parse.map(pages)
    return sum(len(found) for found in await links)


@flow(executor=ThreadExecutor(), run_config=UniversalRun(), schedule=Every(timedelta(minutes=5)))
def nightly() -> None: ...


class PoolExecutor(Executor, frozen=True):
    """As another package has one."""

    kind: Literal["pool"] = "pool"
    workers: int = 4


@flow(executor=PoolExecutor(workers=2))
def elsewhere() -> None: ...


@flow(executor=LocalExecutor())
def inline() -> list[int]:
    return [count(["a"])["a"], asyncio.run(crawl.fn([]))]


# --- what a decorator makes --------------------------------------------------------------------------------------------


def decorated() -> None:
    def bare(left: int, right: int = 0) -> int:
        return left + right

    async def bare_async(text: str) -> float:
        return float(text)

    made = task(bare)
    assert_type(made(1), int)
    assert_type(task(bare_async).submit("1"), TaskFuture[float])
    assert_type(flow(bare_async).run("1"), float)
    assert_type(nightly, Flow[[], None])
    assert_type(nothing, Task[[], None])


# --- a task outside of flows is its function ---------------------------------------------------------------------------


async def outside() -> None:
    assert_type(parse(b"a b"), list[str])
    assert_type(await fetch("x", tries=2), bytes)
    assert_type(add(1), int)
    assert_type(add.fn(1, right=2), int)
    assert_type(await fetch.fn("x"), bytes)
    assert_type(add.with_key("first")(1, 2), int)


# --- inside flows ------------------------------------------------------------------------------------------------------


@flow
def blocking() -> int:
    assert_type(add(1, 2), int)
    one = add.submit(1, 2)
    assert_type(one, TaskFuture[int])
    assert_type(one.result(), int)
    assert_type(one.exception(), BaseException | None)
    assert_type(add.submit(one, right=one, wait_for=[one]), TaskFuture[int])
    many = add.map(range(3), unmapped(1))
    assert_type(many, TaskFutures[int])
    assert_type(many.result(), list[int])
    assert_type(many[0], TaskFuture[int])
    assert_type(len(many), int)
    for each in many:
        assert_type(each, TaskFuture[int])
    assert_type(nothing.submit(), TaskFuture[None])
    assert_type(fetch.submit("x").result(), bytes)
    assert_type(count(["a"], least=2), dict[str, int])
    return one.result()


@flow
async def concurrent() -> bytes:
    assert_type(await fetch("x"), bytes)
    one = fetch.submit("x", tries=2)
    assert_type(one, TaskFuture[bytes])
    assert_type(await one, bytes)
    words = parse.submit(one)
    assert_type(await words, list[str])
    assert_type(await parse.map(fetch.map(["a", "b"])), list[list[str]])
    number, page = await asyncio.gather(add.submit(1), fetch.submit("x"))
    assert_type(number, int)
    assert_type(page, bytes)
    for earliest in asyncio.as_completed([one, fetch.submit("y")]):
        assert_type(await earliest, bytes)
    async with asyncio.TaskGroup() as group:
        beside = group.create_task(fetch("z"))
    assert_type(beside.result(), bytes)
    assert_type(await crawl(["x"]), int)
    return await one


@flow
async def world() -> None:
    assert_type(playhead.now(), datetime)
    assert_type(playhead.random(), float)
    assert_type(playhead.uuid4(), UUID)
    assert_type(await playhead.sleep(timedelta(seconds=1)), None)
    async with playhead.timeout(timedelta(seconds=1)):
        assert_type(await fetch("x"), bytes)
    with playhead.scope("beside"):
        assert_type(await fetch("x"), bytes)
    assert_type(current_run(), CurrentRun)
    assert_type(current_run().scheduled_for, datetime)
    playhead.get_logger().info("seen")


# --- running flows -----------------------------------------------------------------------------------------------------


def embedded() -> None:
    assert_type(count(["a"]), dict[str, int])
    assert_type(count.run(["a"], least=3), dict[str, int])
    assert_type(crawl.run(urls=["x"]), int)
    assert_type(nightly.run(), None)


async def embedded_in_a_loop() -> None:
    assert_type(await crawl(["x"]), int)
    assert_type(await concurrent(), bytes)


async def through_a_server() -> None:
    async with Client("http://127.0.0.1:4317") as client:
        run = await crawl.start(client=client, parameters={"urls": ["x"]}, labels={"gpu"}, idempotency_key="today")
        assert_type(run, FlowRun[int])
        assert_type(await run.result(), int)
        assert_type(await run.wait(), RunView)
        assert_type(await count.start(client=client), FlowRun[dict[str, int]])
        assert_type(await client.start(crawl, at=datetime.fromisoformat("2030-01-01T00:00:00+00:00")), FlowRun[int])
        assert_type(await client.start("crawl"), FlowRun[Any])
        assert_type(await client.find_run("@last"), str)


async def in_a_program() -> None:
    async with Engine("memory:", agent=LocalAgent(capacity=2)) as engine, engine.serve(port=0) as url:
        assert_type(engine, Engine)
        assert_type(engine.client, Client)
        assert_type(url, str)
        run = await engine.client.start(count, parameters={"texts": []})
        assert_type(await run.result(), dict[str, int])
