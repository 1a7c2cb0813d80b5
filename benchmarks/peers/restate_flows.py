# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false
# (it runs in Restate's own environment, whose types are not known here)
"""Restate's service, as its documentation writes one; `python -m benchmarks.peers.restate_flows PORT` serves it with hypercorn."""

from __future__ import annotations

import asyncio
import sys

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

from benchmarks.peers.workplace import mark

bench = restate.Service("bench")


def inc(x: int) -> int:
    return x + 1


@bench.handler()
async def chain(ctx: restate.Context, n: int) -> int:
    x = 0
    for _ in range(n):
        x = await ctx.run_typed("inc", inc, x=x)
    return x


@bench.handler()
async def fan_out(ctx: restate.Context, n: int) -> int:
    steps = await restate.gather(*(ctx.run_typed(f"inc.{i}", inc, x=i) for i in range(n)))
    return sum([await step for step in steps])


@bench.handler()
async def touch(_: restate.Context, path: str) -> None:
    mark(path)


@bench.handler()
async def five(ctx: restate.Context, path: str) -> None:
    x = 0
    for _ in range(5):
        x = await ctx.run_typed("inc", inc, x=x)
    mark(path)


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    asyncio.run(serve(restate.app([bench]), config))
