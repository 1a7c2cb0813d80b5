"""Programs that are wrong, where mypy and pyright must both say so. Read by `make types`; nothing here is run.

Each wrong line carries the error that mypy gives. Both checkers complain of an ignore that ignores nothing (mypy by its strict
setting, pyright by the comment below), so a mistake that goes unseen turns `make types` red.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta

from playhead import Client, Every, FlowRun, TaskFuture, flow, task


@task
def add(left: int, right: int = 0) -> int:
    return left + right


@task
async def fetch(url: str) -> bytes:
    return url.encode()


@flow
def count(texts: list[str]) -> int:
    return len(texts)


@flow
async def crawl(urls: list[str]) -> int:
    return len(urls)


@task(retries="3")  # type: ignore[call-overload, untyped-decorator]  # a number
def retried() -> None: ...


@task(timeout=60)  # type: ignore[call-overload, untyped-decorator]  # a timedelta
def limited() -> None: ...


@flow(schedule="0 6 * * *")  # type: ignore[call-overload, untyped-decorator]  # Cron or Every
def scheduled() -> None: ...


@flow(executor="thread")  # type: ignore[call-overload, untyped-decorator]  # ThreadExecutor()
def threaded() -> None: ...


@flow(schedule=Every(timedelta(hours=1)), retries=3)  # type: ignore[call-overload, untyped-decorator]  # tasks have retries
def again() -> None: ...


async def wrong_calls() -> None:
    add("1")  # type: ignore[arg-type]
    add()  # type: ignore[call-arg]
    add(1, 2, 3)  # type: ignore[call-arg]
    count.run(5)  # type: ignore[arg-type]
    crawl.run()  # type: ignore[call-overload]
    await crawl(url=["x"])  # type: ignore[call-arg]
    await add(1)  # type: ignore[misc]
    add(1).result()  # type: ignore[attr-defined]


async def wrong_results(client: Client) -> None:
    text: str = add(1)  # type: ignore[assignment]
    page: bytes = fetch("x")  # type: ignore[assignment]  # not awaited
    future: TaskFuture[str] = add.submit(1)  # type: ignore[assignment]
    numbers: list[int] = add.map([1])  # type: ignore[assignment]  # not awaited
    number: str = crawl.run(["x"])  # type: ignore[assignment]
    run: FlowRun[str] = await count.start(client=client)  # type: ignore[assignment]
    await count.start(parameters={"texts": []})  # type: ignore[call-arg]  # whose server?
    print(text, page, future, numbers, number, run)
