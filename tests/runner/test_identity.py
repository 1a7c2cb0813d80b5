"""A call's key is its place, whatever the timing: asyncio's and anyio's ways to make tasks, scopes, threads, callbacks."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import playhead
from playhead import flow, task
from playhead.core.state import RunStatus
from playhead.errors import MisusedCall
from playhead.flows.flow import Flow
from tests.runner.bench import Bench, open_bench

chance = random.Random(7)


@task
async def fetch(x: int) -> int:
    await asyncio.sleep(chance.random() / 500)
    return x


async def branch(x: int) -> int:
    return await fetch(await fetch(x))


async def with_gather() -> None:
    await asyncio.gather(*(branch(x) for x in range(4)))


async def with_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        for x in range(4):
            group.create_task(branch(x))


async def with_wait() -> None:
    pending = {asyncio.ensure_future(branch(x)) for x in range(4)}
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


async def with_wait_for() -> None:
    for x in range(2):
        await asyncio.wait_for(branch(x), timeout=30)


async def with_shield() -> None:
    await asyncio.gather(*(asyncio.shield(branch(x)) for x in range(3)))


async def with_semaphore() -> None:
    semaphore = asyncio.Semaphore(2)

    async def limited(x: int) -> int:
        async with semaphore:
            return await branch(x)

    await asyncio.gather(*(limited(x) for x in range(4)))


async def with_anyio_group() -> None:
    async with anyio.create_task_group() as group:
        for x in range(4):
            group.start_soon(branch, x)


async def with_as_completed() -> None:
    for done in asyncio.as_completed([branch(x) for x in range(4)]):
        await done


WAYS: list[Callable[[], Awaitable[None]]] = [
    with_gather, with_task_group, with_wait, with_shield, with_semaphore, with_anyio_group, with_as_completed,
]  # fmt: skip


def keys_of(bench: Bench, subject: Flow[..., Any]) -> tuple[list[str], Any]:
    run, outcome = bench.run(subject)
    return [task.key for task in bench.view(run).tasks], outcome


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_keys_do_not_depend_on_timing(way: Callable[[], Awaitable[None]]) -> None:
    @flow
    async def subject() -> int:
        await way()
        return await fetch(0)

    with open_bench() as bench:
        runs: list[set[str]] = []
        for _ in range(4):
            keys, outcome = keys_of(bench, subject)
            assert outcome.status is RunStatus.SUCCEEDED, outcome.error
            runs.append(set(keys))
    assert all(keys == runs[0] for keys in runs)
    assert "fetch" in runs[0], "the flow's own call keeps its name"
    inside = {key for key in runs[0] if key != "fetch"}
    assert any("~2" in key for key in inside), "calls of one name in one scope are counted"
    assert all(key.rpartition("/")[0].rpartition("/")[2].startswith(("branch", "limited")) for key in inside), inside


def test_wait_for_names_its_tasks_by_their_coroutine() -> None:
    @flow
    async def subject() -> None:
        await with_wait_for()

    with open_bench() as bench:
        keys, outcome = keys_of(bench, subject)
    assert outcome.status is RunStatus.SUCCEEDED
    assert set(keys) in ({"branch/fetch", "branch/fetch~2", "branch~2/fetch", "branch~2/fetch~2"}, {
        "fetch", "fetch~2", "fetch~3", "fetch~4",  # from Python 3.12 on wait_for makes no task
    })  # fmt: skip


def test_maps_names_and_nested_flows_have_their_places() -> None:
    @task
    def plain(x: int) -> int:
        return x

    @flow
    def inner(x: int) -> int:
        return plain(x)

    @flow
    def subject() -> int:
        plain.map(range(2)).result()
        plain.map([5]).result()
        plain.with_key("special").submit(1)
        with playhead.scope("part"):
            plain(1)
        return inner(1) + inner(2)

    with open_bench() as bench:
        keys, outcome = keys_of(bench, subject)
    assert outcome.value == 3
    assert keys == ["plain.0", "plain.1", "plain~2.0", "special", "part/plain", "inner/plain", "inner~2/plain"]


def test_a_name_given_twice_is_an_error() -> None:
    @flow
    async def subject() -> None:
        fetch.with_key("special").submit(1)
        fetch.with_key("special").submit(1)

    with open_bench() as bench:
        _, outcome = keys_of(bench, subject)
    assert isinstance(outcome.error, MisusedCall)


def test_a_foreign_thread_has_no_place_until_it_opens_one() -> None:
    @task
    def plain(x: int) -> int:
        return x

    found: list[BaseException] = []

    @flow
    async def subject() -> int:
        def without() -> None:
            try:
                plain.submit(1)
            except MisusedCall as error:
                found.append(error)

        def within() -> int:
            with playhead.scope("side"):
                return plain.submit(4).result()

        await asyncio.to_thread(without)
        thread = threading.Thread(target=without)
        thread.start()
        thread.join()
        asyncio.get_running_loop().call_soon(without)
        await asyncio.sleep(0)
        return await asyncio.to_thread(within)

    with open_bench() as bench:
        keys, outcome = keys_of(bench, subject)
    assert outcome.value == 4, outcome.error
    assert keys == ["side/plain"]
    assert len(found) == 3
    assert all("playhead.scope" in str(error) for error in found)


def test_eager_task_factories_are_refused() -> None:
    @flow
    async def subject() -> None:
        asyncio.get_running_loop().set_task_factory(None)
        await fetch(1)

    with open_bench() as bench:
        _, outcome = keys_of(bench, subject)
    assert isinstance(outcome.error, MisusedCall)
    assert "task factory" in str(outcome.error)
