# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownArgumentType=false, reportFunctionMemberAccess=false
# (it runs in Prefect's own environment, whose types are not known here)
"""Prefect's flows, as its documentation writes them; `python -m benchmarks.peers.prefect_flows` serves those that are asked for by name."""

from __future__ import annotations

from prefect import flow, serve, task

from benchmarks.peers.workplace import mark


@task
def inc(x: int) -> int:
    return x + 1


@task
async def inc_async(x: int) -> int:
    return x + 1


@flow
def chain(n: int) -> int:
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


@flow
async def chain_async(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await inc_async(x)
    return x


@flow
def fan_out(n: int) -> int:
    return sum(future.result() for future in [inc.submit(i) for i in range(n)])


@flow
def touch(path: str) -> None:
    mark(path)


@flow
def five(path: str) -> None:
    x = 0
    for _ in range(5):
        x = inc(x)
    mark(path)


if __name__ == "__main__":
    serve(touch.to_deployment("served"), five.to_deployment("served"))
