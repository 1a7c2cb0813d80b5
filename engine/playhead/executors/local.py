"""The local executor: in the runner's own process, one call at a time, in the order of submission. It shares memory.

It is the thread executor with a width of one: a call never runs on the runner's own loop, which must go on renewing leases
and taking cancellations while the call computes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playhead.executors.specs import LocalExecutor
from playhead.executors.thread import open_threads
from playhead.ports.executor import OpenExecutor


@asynccontextmanager
async def open_spec(spec: LocalExecutor) -> AsyncGenerator[OpenExecutor]:
    """The entry point `local`."""
    del spec  # it has no settings
    async with open_threads("playhead-local", 1) as executor:
        yield executor
