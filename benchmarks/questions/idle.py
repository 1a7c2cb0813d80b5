"""What do subscribers cost that wait for something that does not come, and do they keep the others waiting?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from benchmarks.crowd import Crowd
from benchmarks.harness import Effort, Question, Row
from benchmarks.machine import cpu_seconds
from benchmarks.stage import open_home, served
from playhead.core.names import run_stream
from playhead.ports.server import EventFilter
from playhead.server.descriptors import ask_for_more

IDLE: Final = 5_000
AT_ONCE: Final = 200  # opened at a time
EVENTS: Final = 300
PAUSE_SECONDS: Final = 0.02  # before each event, so that none shares a message with the one before
LOOK_SECONDS: Final = 10.0  # two signs of life for each stream
LIMIT_SECONDS: Final = 180.0


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    ask_for_more()  # descriptors, for this side of the connections
    with served(open_home(folder / "idle").path) as (url, pid):
        yield from asyncio.run(asyncio.wait_for(_rows(url, pid, effort), LIMIT_SECONDS))


async def _rows(url: str, pid: int, effort: Effort) -> list[Row]:
    server, count = psutil.Process(pid), effort.of(IDLE, least=10)
    name = f"{count:,} idle subscribers"
    rows: list[Row] = []
    async with Crowd(url) as crowd:
        alone = await _append_to_subscriber(crowd, effort.of(EVENTS, least=10))
        before, began = server.memory_info().rss, time.perf_counter()
        waiting = await _opened(url, count)
        rows.append(Row(what=f"{name}: until all are open", unit="s", values=(time.perf_counter() - began,)))
        grown = server.memory_info().rss - before
        rows.append(Row(what=f"{name}: memory of the server for each", unit="KiB", values=(grown / 1024 / count,)))
        rows.append(Row(what=f"{name}: memory of the server", unit="MiB", values=((before + grown) / 1024**2,)))
        used = cpu_seconds(server)
        await asyncio.sleep(LOOK_SECONDS)
        share = 100 * (cpu_seconds(server) - used) / LOOK_SECONDS
        rows.append(Row(what=f"{name}: CPU of the server, of a core", unit="%", values=(share,)))
        beside = await _append_to_subscriber(crowd, effort.of(EVENTS, least=10))
        rows += [
            Row(what=f"append to subscriber, p99, {who}", unit="ms", values=(_p99(found),))
            for who, found in (("alone", alone), (f"beside {name}", beside))
        ]
        for one in waiting:
            one.close()
    return rows


async def _append_to_subscriber(crowd: Crowd, events: int) -> list[float]:
    """For each event, ms from the request that appends it until one who follows its run has it."""
    run, *_ = await crowd.begin(1)
    found: list[float] = []
    which = EventFilter(streams=(run_stream(run.run),), types=("task.succeeded",))
    async with crowd.api.events(cursor=(await crowd.api.info()).cursor, which=which) as pages:
        for _ in range(events):
            await asyncio.sleep(PAUSE_SECONDS)
            began = time.perf_counter()
            step = asyncio.create_task(run.step())
            await anext(pages)
            found.append(1e3 * (time.perf_counter() - began))
            await step
    return found


async def _opened(url: str, count: int) -> list[asyncio.Transport]:
    """Connections on which so many streams are open, each of a run that is not there. What comes is thrown away."""
    host, port = _place(url)
    turn, loop = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop()

    async def one(number: int) -> asyncio.Transport:
        async with turn:
            transport, idle = await loop.create_connection(_Idle, host, port)
            target = f"/api/events?stream={run_stream(f'{number:032x}')}"
            transport.write(f"GET {target} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode())
            await idle.open
            return transport

    return list(await asyncio.gather(*(one(number) for number in range(count))))


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


class _Idle(asyncio.Protocol):
    """A subscriber with nothing around it, so that this process is not what is measured."""

    def __init__(self) -> None:
        self.open = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.open.done() and b": open" in data:
            self.open.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(exc or ConnectionError("the server ended a stream before it was open"))


def _p99(found: list[float]) -> float:
    return sorted(found)[int(0.99 * (len(found) - 1))]


QUESTION: Final = Question(name="idle", asks="5,000 that wait for what does not come", ask=ask)
