"""The thread for blocking libraries: calls in order, one at a time, and none lost with its caller."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from playhead.log import OneThread


async def test_a_cancelled_call_still_runs_and_in_order() -> None:
    thread, go, ran = OneThread("test"), threading.Event(), list[int]()

    def call(number: int) -> int:
        assert go.wait(10)
        ran.append(number)
        return number

    callers = [asyncio.create_task(thread.run(partial(call, number))) for number in range(4)]
    await asyncio.sleep(0)
    for caller in callers[1:3]:
        caller.cancel()
    await asyncio.wait(callers[1:3])
    go.set()
    assert await callers[0] == 0
    assert await callers[3] == 3
    assert ran == [0, 1, 2, 3]
    await thread.close()


async def test_an_exception_is_the_callers() -> None:
    thread = OneThread("test")
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 7) == 7
    await thread.close()
    assert not [left for left in threading.enumerate() if left.name.startswith("test_")]
