# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUntypedFunctionDecorator=false
# (it runs in DBOS's own environment, whose types are not known here)
"""DBOS's workflows, as its documentation writes them; run with `URL POLL_SECONDS READY` it is a worker of its queue."""

from __future__ import annotations

import asyncio
import sys
import threading

from dbos import DBOS, DBOSConfig

from benchmarks.peers.workplace import mark

QUEUE = "bench"


def configure(url: str) -> None:
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, log_level="ERROR", application_version="1"))


@DBOS.step()
def inc(x: int) -> int:
    return x + 1


@DBOS.step()
async def inc_async(x: int) -> int:
    return x + 1


@DBOS.workflow()
def chain(n: int) -> int:
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


@DBOS.workflow()
async def chain_async(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await inc_async(x)
    return x


@DBOS.workflow()
async def fan_out(n: int) -> int:
    return sum(await asyncio.gather(*(inc_async(i) for i in range(n))))


@DBOS.workflow()
def touch(path: str) -> None:
    mark(path)


@DBOS.workflow()
def five(path: str) -> None:
    x = 0
    for _ in range(5):
        x = inc(x)
    mark(path)


if __name__ == "__main__":
    configure(sys.argv[1])
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=float(sys.argv[2]))
    mark(sys.argv[3])
    threading.Event().wait()
