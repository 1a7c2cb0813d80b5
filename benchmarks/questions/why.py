"""How long does the answer take why a run waits, while ten thousand others wait as well?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio
from pydantic_core import to_json

from benchmarks.harness import Effort, Question, Row, percentile
from playhead.core import events as ev
from playhead.log import Log
from playhead.ports.server import AgentHello, RunRequest
from playhead.service import Service

WAITING: Final = 10_000
AGENTS: Final = 20  # none of which has the label that the runs want
ASKED: Final = 200
AT_ONCE: Final = 100  # runs asked for, while the log is made
GOAL_MS: Final = 20.0

SEAL, STORAGE, KEY = "5e" * 8, "57" * 8, "6b" * 8


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    waiting = effort.of(WAITING)
    took = asyncio.run(_ask(f"sqlite://{folder / 'why.db'}", folder / "why-views.db", waiting, effort.of(ASKED)))
    what = f"why a run waits, {waiting:,} others wait, {AGENTS} agents"
    yield Row(what=f"{what}, p50", unit="ms", values=(percentile(took, 50),))
    yield Row(what=f"{what}, p99", unit="ms", values=(percentile(took, 99),), goal=GOAL_MS)


async def _ask(store: str, views: Path, waiting: int, times: int) -> tuple[float, ...]:
    """ms for each answer of the service, written as JSON; a run of its own each time."""
    async with Log.open(store) as log, Service(log, read_models=views) as service:
        await service.register_flow(
            ev.FlowRegistered(
                flow="bench", seal=SEAL, sealed_by=ev.SealedBy.MODULE, executor="thread", run_config="local", labels=("gpu",),
                storage=STORAGE, key_id=KEY,
            )
        )  # fmt: skip
        for number in range(AGENTS):
            await service.join(
                AgentHello(
                    joined=ev.AgentJoined(
                        agent=f"agent-{number}", kind="local", capacity=4, storages=(STORAGE,), key_ids=(KEY,), python="3.11",
                        version="0.1.0",
                    )
                )
            )  # fmt: skip
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def wait(number: int) -> None:
            async with limiter:
                await service.ask_run(RunRequest(run=f"{number:032x}", flow="bench", seal=SEAL))

        async with anyio.create_task_group() as asking:
            for number in range(waiting):
                asking.start_soon(wait, number)
        await service.flows(after=await log.head())
        took: list[float] = []
        for number in range(times):
            began = time.perf_counter()
            told = await service.why(f"{number * waiting // times:032x}")
            to_json(told)
            took.append(1e3 * (time.perf_counter() - began))
            assert "lacks label gpu" in told.because
        return tuple(took)


QUESTION: Final = Question(name="why", asks="why a run waits, while ten thousand others do", ask=ask)
