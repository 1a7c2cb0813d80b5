"""Tasks whose costs are counted. Workers import this module, so it imports no more than a user's would."""

from __future__ import annotations

import psutil

from playhead import ProcessExecutor, flow, task


@task
def double(x: int) -> int:
    return 2 * x


@flow(executor=ProcessExecutor(workers=2))
async def doubles(n: int) -> int:
    return sum(await double.map(range(n)))


def resident_bytes(data: bytes) -> int:
    """Of this process, while it holds the data."""
    return psutil.Process().memory_info().rss
