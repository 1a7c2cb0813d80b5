"""The thread for blocking libraries: calls in order, one at a time, and none lost with its caller."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from functools import partial

import pytest

from playhead.errors import LogUnusable
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
    assert not [left for left in threading.enumerate() if left.name == "test"]


async def test_the_last_call_is_made_behind_those_under_way() -> None:
    thread, ran = OneThread("test"), list[str]()
    thread.start(lambda: ran.append("first"))
    await thread.close(lambda: ran.append("last"))
    assert ran == ["first", "last"]
    with pytest.raises(LogUnusable, match="is closed"):
        thread.start(lambda: None)
    await thread.close(lambda: ran.append("never"))
    await OneThread("never used").close()
    assert ran == ["first", "last"]


async def test_what_the_last_call_raises_is_told() -> None:
    thread = OneThread("test")
    with pytest.raises(ZeroDivisionError):
        await thread.close(lambda: print(1 // 0))


async def test_a_call_that_does_not_end_is_named_and_left_behind() -> None:
    thread, go = OneThread("test"), threading.Event()
    hanging = thread.start(go.wait)
    with pytest.raises(LogUnusable, match=r"has not ended for 0\.05 s; it stands in .*wait"):
        await thread.close(lambda: None, limit_seconds=0.05)
    go.set()
    assert await hanging
    await thread.close()  # the thread ends by itself


def test_a_call_that_does_not_end_keeps_no_program_from_ending() -> None:
    program = """
import asyncio, threading
from playhead.errors import LogUnusable
from playhead.errors import LogUnusable
from playhead.log import OneThread

async def main():
    thread = OneThread("test")
    thread.start(threading.Event().wait)
    try:
        await thread.close(limit_seconds=0.05)
    except LogUnusable:
        print("ends")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr) == ("ends\n", "")
