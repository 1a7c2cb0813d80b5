"""How soon is an event delivered, and what does a server hold, while a thousand runs are active on it?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from benchmarks.crowd import ActiveRun, Crowd
from benchmarks.harness import Effort, Point, Question, Row, percentile
from benchmarks.machine import cpu_seconds
from benchmarks.stage import open_home, served
from playhead.client.http import HttpServer
from playhead.ports.server import EventFilter

RUNS: Final = (1, 10, 100, 1_000)
BEAT_EVERY_SECONDS: Final = 5.0  # as a runner does with the default lease
STEP_EVERY_SECONDS: Final = 10.0  # of each run: 100 reports a second of the thousand, besides 200 heartbeats
SPAN_SECONDS: Final = 10.0
GOAL_DELIVERY_MS: Final = 100.0
GOAL_MEMORY_MIB: Final = 200.0


@dataclass(slots=True)
class _Watched:
    late: list[float] = field(default_factory=list[float])  # ms from the server's decision until the subscriber had it
    cpu: float = 0.0  # of the server, seconds a second
    memory: float = 0.0  # of the server, MiB


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    for count, runs in {effort.of(runs, least=1): runs for runs in RUNS}.items():
        watched = _watch(folder / f"active-{runs}", count, SPAN_SECONDS * effort.scale)
        most = runs == max(RUNS)
        name = f"{count:,} runs active" if count > 1 else "1 run active"
        yield Row(
            what=f"{name}: append to subscriber, p99", unit="ms", values=(percentile(tuple(watched.late), 99),),
            goal=GOAL_DELIVERY_MS if most else None, point=_point("append to subscriber, p99", count),
        )  # fmt: skip
        yield Row(
            what=f"{name}: memory of the server", unit="MiB", values=(watched.memory,),
            goal=GOAL_MEMORY_MIB if most else None, point=_point("memory of the server", count),
        )  # fmt: skip
        yield Row(what=f"{name}: CPU of the server in a second", unit="s", values=(watched.cpu,))


def _point(panel: str, runs: int) -> Point:
    return Point(panel=panel, x="active runs", at=runs)


def _watch(folder: Path, runs: int, span: float) -> _Watched:
    with served(open_home(folder).path) as (url, pid):
        return asyncio.run(_watched(url, pid, runs, span))


async def _watched(url: str, pid: int, runs: int, span: float) -> _Watched:
    server, watched = psutil.Process(pid), _Watched()
    async with Crowd(url) as crowd, HttpServer(url) as api:
        active = await crowd.begin(runs)
        cursor = (await api.info()).cursor
        following = asyncio.create_task(_follow(api, cursor, watched))
        before, began = cpu_seconds(server), time.perf_counter()
        await asyncio.gather(*(_live(run, number / runs, span) for number, run in enumerate(active)))
        watched.cpu = (cpu_seconds(server) - before) / (time.perf_counter() - began)
        watched.memory = server.memory_info().rss / 2**20
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return watched


async def _live(run: ActiveRun, phase: float, span: float) -> None:
    """A step and two heartbeats in each round; the runs begin one after another, so that they do not march in step."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    step, beat = phase * min(span, STEP_EVERY_SECONDS), phase * min(span, BEAT_EVERY_SECONDS)
    while min(step, beat) < span:
        await asyncio.sleep(began + min(step, beat) - loop.time())
        if step <= beat:
            await run.step()
            step += STEP_EVERY_SECONDS
        else:
            await run.beat()
            beat += BEAT_EVERY_SECONDS


async def _follow(api: HttpServer, cursor: str, watched: _Watched) -> None:
    async with api.events(cursor=cursor, which=EventFilter(streams=("default/run/",))) as pages:
        async for page in pages:
            now = time.time()
            watched.late += [1e3 * now - event.recorded_at / 1e3 for event in page.events]


QUESTION: Final = Question(name="active", asks="runs that are active on one server", ask=ask)
