"""The flows of the canary. Written to a marked folder under a marked name, and run there; nothing in it may reach a server but the
names that it declares. Each function of it leaves marked words in some place.

The one place that crosses on purpose, and so has no mark: the name of a coroutine that becomes an asyncio task of its own, which is part
of the keys of the tasks that it asks for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import playhead
from playhead import (
    DaskExecutor,
    DockerRun,
    Every,
    LocalExecutor,
    LocalRun,
    ProcessExecutor,
    TaskLost,
    ThreadExecutor,
    flow,
    get_logger,
    task,
)

zqxkanarie_global = "zqxkanarie_global_value"


class zqxkanarie_Error(Exception):
    """zqxkanarie_docstring"""


class zqxkanarie_Class:
    def __init__(self, held: str) -> None:
        self.zqxkanarie_field = held


def zqxkanarie_helper(text: str) -> str:
    zqxkanarie_local = f"{text} zqxkanarie_local_value {zqxkanarie_global}"
    print("zqxkanarie_print", zqxkanarie_local)
    get_logger().info("zqxkanarie_line %s", zqxkanarie_local)
    logging.getLogger("zqxkanarie_logger").error("zqxkanarie_stdlib", extra={"zqxkanarie_extra": text})
    warnings.warn("zqxkanarie_warning", stacklevel=1)
    return zqxkanarie_local


@task(name="small", log_prints=True)
def zqxkanarie_small(text: str, default: str = "zqxkanarie_default") -> str:
    return zqxkanarie_helper(text) + default + os.environ["ZQXKANARIE_VARIABLE"] + str(Path.cwd())


@task(name="large")
def zqxkanarie_large(text: str) -> zqxkanarie_Class:
    """Larger than what a journal holds itself: an object of its own in storage."""
    return zqxkanarie_Class(f"{text} zqxkanarie_large_result\n" * 2_000)


@task(name="flaky", retries=1, retry_delay=timedelta(milliseconds=1))
def zqxkanarie_flaky(folder: str, given: str) -> str:
    seen = Path(folder, f"{playhead.current_run().id}.seen")
    if not seen.exists():
        seen.touch()
        raise zqxkanarie_Error(f"zqxkanarie_first_attempt {given}")
    return given


@task(name="broken")
def zqxkanarie_broken(given: str) -> None:
    try:
        raise KeyError("zqxkanarie_cause")
    except KeyError as cause:
        error = zqxkanarie_Error("zqxkanarie_message", given)
        error.add_note("zqxkanarie_note")
        raise ExceptionGroup("zqxkanarie_group", [error, ValueError("zqxkanarie_member")]) from cause


@task(name="unpicklable")
def zqxkanarie_unpicklable() -> Any:
    return {"zqxkanarie_unpicklable_key": threading.Lock()}


@task(name="dying")
def zqxkanarie_dying(folder: str) -> str:
    """Its worker dies under it, once."""
    seen = Path(folder, f"{playhead.current_run().id}.died")
    if not seen.exists():
        seen.touch()
        print("zqxkanarie_last_words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return "zqxkanarie_survivor"


@flow(name="inner")
def zqxkanarie_inner(text: str) -> str:
    return zqxkanarie_small(text, default="zqxkanarie_inner_default")


def zqxkanarie_everything(
    given: str, folder: str, number: int = 3, default: str = "zqxkanarie_flow_default"
) -> dict[str, Any]:
    """What a flow can do, on any executor."""
    text = zqxkanarie_helper(given)
    mapped = zqxkanarie_small.map([f"{text} zqxkanarie_element {index}" for index in range(number)])
    large = zqxkanarie_large.submit(given)
    keyed = zqxkanarie_small.with_key("keyed")(given)
    failed: list[str] = []
    for each in (zqxkanarie_broken.submit(given), zqxkanarie_unpicklable.submit()):
        try:
            each.result()
        except Exception as error:
            failed.append(f"{error} zqxkanarie_caught")
    with playhead.scope("apart"):
        inner = zqxkanarie_inner(given)
    playhead.sleep_blocking(timedelta(milliseconds=2))
    facts = (playhead.now(), playhead.random(), playhead.uuid4())
    return {
        "zqxkanarie_result_key": [mapped.result(), keyed, inner, zqxkanarie_flaky(folder, given), failed, facts],
        "zqxkanarie_large_kept": large.result().zqxkanarie_field,
        default: "zqxkanarie_result",
    }


RUN = LocalRun(env={"ZQXKANARIE_SEALED": "zqxkanarie_sealed_environment"})

zqxkanarie_on_threads = flow(name="on-threads", executor=ThreadExecutor(workers=2), run_config=RUN, log_prints=True)(
    zqxkanarie_everything
)
zqxkanarie_on_the_thread = flow(name="on-the-thread", executor=LocalExecutor(), run_config=RUN)(zqxkanarie_everything)


@flow(name="on-processes", executor=ProcessExecutor(workers=2), run_config=RUN)
def zqxkanarie_on_processes(given: str, folder: str, number: int = 3) -> Any:
    try:
        died = zqxkanarie_dying(folder)
    except TaskLost as lost:
        died = f"{lost} zqxkanarie_lost"
    return died, zqxkanarie_everything(given, folder, number)


zqxkanarie_on_dask = flow(name="on-dask", executor=DaskExecutor(workers=1), run_config=RUN)(zqxkanarie_everything)

IN_A_CONTAINER = DockerRun(env={"ZQXKANARIE_SEALED": "zqxkanarie_sealed_in_a_container"})

zqxkanarie_in_a_container = flow(name="in-a-container", executor=ThreadExecutor(workers=2), run_config=IN_A_CONTAINER)(
    zqxkanarie_everything
)
zqxkanarie_dask_in_a_container = flow(
    name="dask-in-a-container", executor=DaskExecutor(workers=1), run_config=IN_A_CONTAINER
)(zqxkanarie_everything)


@flow(name="at-once")
async def zqxkanarie_at_once(given: str) -> str:
    """An async flow with tasks of asyncio's."""

    async def beside(number: int) -> str:
        zqxkanarie_in_coroutine = f"{given} {number}"
        return await zqxkanarie_small.submit(zqxkanarie_in_coroutine)

    async with playhead.timeout(timedelta(minutes=5)):
        found = await asyncio.gather(*(beside(number) for number in range(2)))
    await playhead.sleep(timedelta(milliseconds=2))
    return f"zqxkanarie_async_result {found}"


@flow(name="fails")
def zqxkanarie_fails(given: str) -> None:
    zqxkanarie_before = f"{given} zqxkanarie_frame"
    print(zqxkanarie_before)
    zqxkanarie_broken(zqxkanarie_before)


@flow(name="rests")
def zqxkanarie_rests(given: str) -> str:
    """Until it is cancelled."""
    playhead.sleep_blocking(timedelta(minutes=5))
    return f"{given} zqxkanarie_never"


@flow(name="exits")
def zqxkanarie_exits(given: str) -> None:
    print(f"{given} zqxkanarie_exit", flush=True)
    os._exit(3)


@flow(name="ticks", schedule=Every(timedelta(seconds=3)))
def zqxkanarie_ticks(given: str = "zqxkanarie_scheduled_default") -> str:
    return zqxkanarie_small(given)
