"""Flows that wait: each wants of an agent what its name says, or has a task that does."""

from __future__ import annotations

from datetime import timedelta

from playhead import DaskExecutor, DockerRun, LocalRun, flow, task


@task(retries=1, retry_delay=timedelta(hours=1))
def fails_at_first() -> int:
    raise LookupError("not yet")


@task
def after(number: int) -> int:
    return number


@flow
def anywhere() -> None: ...


@flow(run_config=LocalRun(labels={"gpu", "eu"}))
def with_labels() -> None: ...


@flow(run_config=DockerRun(image="acme/flows:1"))
def in_a_container() -> None: ...


@flow
def retries() -> int:
    return after.submit(fails_at_first.submit()).result()


@flow(executor=DaskExecutor(address="tcp://127.0.0.1:1", connect_seconds=0.5))
def on_a_scheduler_that_is_not_there() -> None: ...


@task
def larger_than_its_worker() -> bytes:
    return b"x" * 700_000_000


@flow(executor=DaskExecutor(workers=1, cluster_kwargs={"memory_limit": "500MB"}))
def with_a_result_too_large_to_hold() -> None:
    larger_than_its_worker()
