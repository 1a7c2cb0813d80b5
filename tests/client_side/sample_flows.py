"""Flows of a module that lies in a package and is not installed: only this test program can import it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta

from playhead.executors.specs import DaskExecutor, ThreadExecutor
from playhead.flows.flow import flow
from playhead.flows.run_config import UniversalRun
from playhead.flows.schedule import Cron, Every
from playhead.flows.task import task


@dataclass(frozen=True)
class Row:
    number: int


@task
def double(row: Row) -> Row:
    return Row(row.number * 2)


@task(name="renamed")
def other() -> None: ...


@flow(executor=ThreadExecutor(workers=2), run_config=UniversalRun(labels=frozenset({"gpu", "big", "fast"})))
def crawl(n: int, text: str = "secret-default") -> int:
    return double(Row(n)).number


@flow(schedule=Cron("0 6 * * *", tz="Europe/Paris"))
async def nightly(days: int = 7) -> int:
    return days


@flow(schedule=Every(timedelta(minutes=5)))
def open_ended(day: str) -> str:
    return day


@flow(schedule=Cron("0 6 * * *", tz="Europe/Atlantis"))
def lost_zone() -> None: ...


@flow(schedule=Cron("every day; please"))
def no_cron() -> None: ...


@flow
def unsealable(lock: object = threading.Lock()) -> None: ...


@flow(executor=DaskExecutor(cluster_kwargs={"security": object()}))
def opaque() -> None: ...
