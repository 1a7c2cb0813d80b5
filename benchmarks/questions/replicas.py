"""How long until an agent at any of three servers sees that a run is ready, which another of them was asked for?

All three are on one PostgreSQL, and are asked in turn, one request after the other. Left out where PostgreSQL is not installed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from secrets import token_hex
from typing import Final

from benchmarks.crowd import SEAL, Crowd
from benchmarks.harness import Effort, Question, Row
from benchmarks.stage import open_home, served
from benchmarks.stores import stores
from playhead.client.http import HttpServer
from playhead.ports.server import EventFilter, RunRequest

SERVERS: Final = 3
RUNS: Final = 300
PAUSE_SECONDS: Final = 0.01  # before each, so that none shares a commit with the one before
GOAL_MILLIS: Final = 50.0
LIMIT_SECONDS: Final = 120.0


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    with ExitStack() as stack:
        found = {store.name: store for store in stack.enter_context(stores(folder))}
        if "PostgreSQL" not in found:
            return
        url = found["PostgreSQL"].fresh()
        homes = [open_home(folder / f"server-{number}").path for number in range(SERVERS)]
        urls = [stack.enter_context(served(home, "server", "--store", url))[0] for home in homes]
        here: list[float] = []
        elsewhere: list[float] = []
        for _ in range(effort.repeats):
            same, other = asyncio.run(asyncio.wait_for(_ready(urls, effort.of(RUNS)), LIMIT_SECONDS))
            here.append(_p99(same))
            elsewhere.append(_p99(other))
        yield Row(
            what="asked → ready at the server that was asked, p99", unit="ms", values=tuple(here), goal=GOAL_MILLIS
        )
        yield Row(
            what="asked → ready at the last of the others, p99", unit="ms", values=tuple(elsewhere), goal=GOAL_MILLIS
        )


async def _ready(urls: Sequence[str], runs: int) -> tuple[list[float], list[float]]:
    """For each run, in ms from before it was asked for: until a follower at the server asked has it, and the last elsewhere."""
    here: list[float] = []
    elsewhere: list[float] = []
    async with Crowd(urls[0]) as crowd, AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(HttpServer(url)) for url in urls]
        arrivals: asyncio.Queue[tuple[int, str, float]] = asyncio.Queue()
        cursor = (await crowd.api.info()).cursor
        following = [asyncio.create_task(_follow(number, api, cursor, arrivals)) for number, api in enumerate(apis)]
        for number in range(runs + 1):
            await asyncio.sleep(PAUSE_SECONDS)
            run, asked = token_hex(16), number % SERVERS
            began = time.perf_counter()
            await apis[asked].ask_run(RunRequest(run=run, flow="crowd", seal=SEAL))
            seen = [await arrivals.get() for _ in urls]
            if number:  # the first waits for the streams to be open
                here += [1e3 * (at - began) for server, _, at in seen if server == asked]
                elsewhere.append(1e3 * (max(at for server, _, at in seen if server != asked) - began))
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    return here, elsewhere


async def _follow(number: int, api: HttpServer, cursor: str, arrivals: asyncio.Queue[tuple[int, str, float]]) -> None:
    async with api.events(cursor=cursor, which=EventFilter(types=("run.ready",))) as pages:
        async for page in pages:
            for event in page.events:
                arrivals.put_nowait((number, event.stream, time.perf_counter()))


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


QUESTION: Final = Question(name="replicas", asks="asked → ready, with three servers on one PostgreSQL", ask=ask)
