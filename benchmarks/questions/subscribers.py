"""What does it cost to deliver one event, by how many listen?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import psutil

from benchmarks.crowd import Crowd
from benchmarks.harness import Effort, Point, Question, Row
from benchmarks.machine import cpu_seconds
from benchmarks.stage import open_home, served
from playhead.client.http import HttpServer
from playhead.core.names import run_stream
from playhead.ports.server import EventFilter

SUBSCRIBERS: Final = (1, 10, 100, 1_000)
STREAMS_A_SESSION: Final = 100  # as many connections as a client keeps
EVENTS: Final = 20
PAUSE_SECONDS: Final = 0.02  # before each event, so that none shares a message with the one before
LIMIT_SECONDS: Final = 120.0


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    with served(open_home(folder / "subscribers").path) as (url, pid):
        for count in dict.fromkeys(effort.of(subscribers, least=1) for subscribers in SUBSCRIBERS):
            for line, wanted in (("all want it", True), ("each waits for another run", False)):
                told = asyncio.run(
                    asyncio.wait_for(_deliver(url, pid, count, effort.of(EVENTS), wanted=wanted), LIMIT_SECONDS)
                )
                yield from _rows(count, line, *told)


def _rows(count: int, line: str, cpu: tuple[float, ...], last: tuple[float, ...]) -> Iterator[Row]:
    name = f"one event, {count:,} subscribers, {line}"
    yield Row(
        what=f"{name}: CPU of the server", unit="ms", values=cpu,
        point=Point(panel="CPU of the server to deliver an event", line=line, x="subscribers", at=count),
    )  # fmt: skip
    if last:
        yield Row(
            what=f"{name}: until the last one has it", unit="ms", values=last,
            point=Point(panel="until the last subscriber has an event", line=line, x="subscribers", at=count),
        )  # fmt: skip


async def _deliver(
    url: str, pid: int, count: int, events: int, *, wanted: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """For each event, in ms: the server's CPU, its append included, and how long the last subscriber waited for it."""
    server = psutil.Process(pid)
    cpu: list[float] = []
    last: list[float] = []
    async with Crowd(url) as crowd, AsyncExitStack() as stack:
        run, *others = await crowd.begin(1 if wanted else 1 + count)
        cursor = (await crowd.api.info()).cursor
        sessions = [
            await stack.enter_async_context(HttpServer(url)) for _ in range(1 + (count - 1) // STREAMS_A_SESSION)
        ]
        arrivals: asyncio.Queue[float] = asyncio.Queue()
        following: list[asyncio.Task[None]] = []
        for number in range(count):
            heard = run if wanted else others[number]
            which = EventFilter(streams=(run_stream(heard.run),), types=("task.succeeded",))
            api = sessions[number // STREAMS_A_SESSION]
            following.append(asyncio.create_task(_follow(api, cursor, which, arrivals)))
        for heard in [run] if wanted else others:
            await heard.step()
        await _all(arrivals, count)  # every stream is open
        for _ in range(events):
            await asyncio.sleep(PAUSE_SECONDS)
            before, began = cpu_seconds(server), time.perf_counter()
            await run.step()
            if wanted:
                last.append(1e3 * (await _all(arrivals, count) - began))
            cpu.append(1e3 * (cpu_seconds(server) - before))
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    return tuple(cpu), tuple(last)


async def _follow(api: HttpServer, cursor: str, which: EventFilter, arrivals: asyncio.Queue[float]) -> None:
    async with api.events(cursor=cursor, which=which) as pages:
        async for page in pages:
            for _ in page.events:
                arrivals.put_nowait(time.perf_counter())


async def _all(arrivals: asyncio.Queue[float], count: int) -> float:
    """When the last of so many had it."""
    return max([await arrivals.get() for _ in range(count)])


QUESTION: Final = Question(name="subscribers", asks="one event to many", ask=ask)
