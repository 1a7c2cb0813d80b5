"""Flows whose code, defaults, results, failures, prints and log lines hold words that nobody may find in encrypted storage."""

from __future__ import annotations

import time
from datetime import timedelta

from playhead import ProcessExecutor, ThreadExecutor, UniversalRun, flow, get_logger, task
from playhead.flows.schedule import Every

CODE_WORD = "canary-code-7f3a"


@task(retries=1)
def small(word: str) -> str:
    get_logger().info("canary-line-7f3a %s", word)
    print("canary-print-7f3a")
    return f"canary-result-7f3a {word}"


@task
def large() -> str:
    return "canary-blob-7f3a " * 10_000


@task
def fails() -> None:
    raise LookupError("canary-failure-7f3a")


@flow(
    executor=ThreadExecutor(workers=2),
    log_prints=True,
    run_config=UniversalRun(env={"CANARY": "canary-environment-7f3a"}),
    schedule=Every(timedelta(days=365)),
)
def secretive(word: str = "canary-default-7f3a") -> str:
    small(word)
    large()
    try:
        fails()
    except LookupError:
        return f"canary-outcome-7f3a {word}"
    return ""


@flow(executor=ProcessExecutor(workers=1), log_prints=True)
def secretive_there(word: str = "canary-default-7f3a") -> str:
    small(word)
    large()
    return f"canary-outcome-7f3a {word}"


@task
def hold() -> None:
    time.sleep(300)  # until the test ends it


@flow(executor=ProcessExecutor(workers=1))
def holds() -> None:
    hold()


@flow
def echo(word: str = "as it is by default") -> str:
    return word
