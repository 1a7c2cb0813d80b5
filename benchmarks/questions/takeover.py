"""How soon is the next task running after a kill -9, and what does the kill cost? A flow of 20 tasks, killed after each of its events."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from benchmarks import flows
from benchmarks.harness import Effort, Question, Row, percentile
from benchmarks.stage import open_home, served
from playhead.client.client import Client
from playhead.client.flow_run import FlowRun
from playhead.core import events as ev
from playhead.core.names import run_stream
from playhead.core.state import RunStatus
from playhead.home import Home
from playhead.ports.server import EventFilter
from playhead.ports.store import Recorded

TASKS: Final = 20
BEGIN: Final = 5  # events before the first task's: scheduled, ready, claimed, started, adopted
EVENTS_A_TASK: Final = 3  # submitted, started, succeeded
LAST: Final = BEGIN + TASKS * EVENTS_A_TASK + 1  # the version of the run's end
RUN_SECONDS: Final = 60.0  # for one run with its kill, so that one that hangs ends the measurement
LOOK_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class Killed:
    """What one kill cost. `to_next_task_ms`: None where no task was left to run."""

    after: int
    to_next_task_ms: float | None
    events_lost: int
    completions_repeated: int
    succeeded: bool


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    home = open_home(folder / "served")
    moments = range(BEGIN - 2, LAST + 1, round(1 / effort.scale))
    with served(home.path, "up") as (url, _):
        kills = asyncio.run(_sweep(home, url, folder, moments))
    waits = tuple(killed.to_next_task_ms for killed in kills if killed.to_next_task_ms is not None)
    sweep = f"kills of a runner, after each of {len(kills)} events"
    yield Row(what=f"{sweep}: to the next task, p50", unit="ms", values=waits)
    yield Row(what="to the next task, p95", unit="ms", values=(percentile(waits, 95),), goal=500)
    yield Row(what="to the next task, at most", unit="ms", values=(max(waits),))
    yield Row(what="acknowledged events lost", unit="events", values=(sum(killed.events_lost for killed in kills),))
    yield Row(
        what="completions executed again", unit="tasks", values=(sum(killed.completions_repeated for killed in kills),)
    )
    yield Row(what="runs that did not succeed", unit="runs", values=(sum(not killed.succeeded for killed in kills),))


async def _sweep(home: Home, url: str, folder: Path, moments: range) -> list[Killed]:
    async with Client(url, home=home) as client:
        await client.register(flows.told_steps)
        await (await _begun(client, folder / "warm")).wait()
        return [await asyncio.wait_for(_killed(client, folder / f"ledger-{at}", at), RUN_SECONDS) for at in moments]


async def _begun(client: Client, ledger: Path) -> FlowRun[int]:
    return await client.start(flows.told_steps.name, parameters={"n": TASKS, "ledger": str(ledger)})


async def _killed(client: Client, ledger: Path, after: int) -> Killed:
    """One run, its first runner killed as soon as the event of this version is told."""
    cursor = (await client.api.info()).cursor
    run = await _begun(client, ledger)
    seen: list[Recorded] = []
    async with client.events(cursor=cursor, which=EventFilter(streams=(run_stream(run.id),))) as pages:
        async for page in pages:
            seen += page.events
            if seen and seen[-1].version >= after:
                break
    killed_at = await _kill(client.home.path, run.id)
    view = await run.wait()
    history = [event async for event in client.history(run.id)]
    told = _told(ledger)
    later = [at for epoch, _, at in told if epoch > 1]
    return Killed(
        after=after,
        to_next_task_ms=1e3 * (min(later) - killed_at) if later else None,
        events_lost=sum(event not in history for event in seen),
        completions_repeated=_repeated(told, history),
        succeeded=view.state is RunStatus.SUCCEEDED,
    )


async def _kill(home: Path, run: str) -> float:
    """When the run's first runner was killed: it may be only on its way, and it may have ended."""
    while True:
        for note in home.glob(f"agents/*/{run}-1/process.json"):
            pid: int = json.loads(note.read_text(encoding="utf-8"))["pid"]
            at = time.time()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return at
        await anyio.sleep(LOOK_SECONDS)


def _told(ledger: Path) -> list[tuple[int, int, float]]:
    """Epoch, task, and when it began, for each execution."""
    lines = [line.split() for line in ledger.read_text(encoding="utf-8").splitlines()]
    epochs = {pid: int(number) for what, pid, number, _ in lines if what == "epoch"}
    return [(epochs[pid], int(number), float(at)) for what, pid, number, at in lines if what == "task"]


def _repeated(told: list[tuple[int, int, float]], history: list[Recorded]) -> int:
    executed: defaultdict[int, list[int]] = defaultdict(list)
    for epoch, task, _ in told:
        executed[task].append(epoch)
    ends = [event for event in history if event.type == ev.TaskSucceeded.TYPE]
    return sum(epoch > (end.epoch or 0) for number, end in enumerate(ends) for epoch in executed[number])


QUESTION: Final = Question(
    name="takeover", asks="kill -9 of a runner after each of its events: to the next task", ask=ask
)
