"""Work that goes on beside a block, and ends with it. Owns one thing: what comes out of the block when something fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def background() -> AsyncGenerator[TaskGroup]:
    """A task group for the block's length: at its end the tasks are cancelled. The block's own exception comes out as it is, not in a
    group; a task's failure ends the block, and comes out in a group as anyio has it."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:  # noqa: BLE001  # raised again below: a task group would wrap it
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
