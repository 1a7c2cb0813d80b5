"""A crew: daemon threads that take calls in order, a set number at a time. Owns admission and the threads' lives.

It does not know how a call is computed: each thread has a `Lane` that does. Threads start when they are needed, one for
each call that runs, and wait for the next one when it has ended.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from queue import SimpleQueue
from typing import Any, Protocol

from playhead.errors import InfrastructureLost, MisusedCall
from playhead.executors.calls import Call
from playhead.ports.executor import ExecutorFuture

AHEAD = 2  # calls at hand for each that can run: enough that no worker waits for the next
MAX_ABANDONED = 256  # calls left behind that still run, each in a thread of its own; at the limit no call begins
CLOSE_SECONDS = 30.0  # for the threads to leave: far above what an idle one needs; then they are left behind


class Lane(Protocol):
    """How one thread of the crew computes its calls, one after the other."""

    def run(self, call: Call) -> None:
        """Compute the call and end it, unless another hand has. Never raises what the call raised."""
        ...

    def close(self) -> None:
        """Let go of what the lane holds; its thread ends."""
        ...


class Crew(ABC):
    """What executors in threads are made of; each says what a lane is and how to stop a call."""

    def __init__(self, name: str, width: int) -> None:
        self._name = name
        self._width = width
        self._lock = threading.Lock()  # guards all below; no foreign code runs under it
        self._waiting: deque[Call] = deque()
        self._running: set[Call] = set()
        self._abandoned: int = 0
        self._inbox: SimpleQueue[Call | None] = SimpleQueue()  # to idle threads; None asks one to leave
        self._idle = 0  # threads that wait at the inbox and have not been given a call
        self._members = 0  # threads, but those of abandoned calls
        self._closed = False
        self._leavers: list[threading.Thread] = []
        self._dismissed: Future[None] = Future()

    @property
    def width(self) -> int:
        return self._width

    @property
    def backlog(self) -> int:
        return AHEAD * self._width

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, _timeout: timedelta | None = None, **kwargs: Any
    ) -> ExecutorFuture[Any]:
        call = Call(self, fn, args, kwargs, _timeout)
        with self._lock:
            if self._closed:
                raise MisusedCall(
                    f"{call.name} was submitted to an executor that is closed",
                    hint="submit inside `async with spec.open() as executor:`",
                )
            self._waiting.append(call)
            self._admit()
        return call

    @abstractmethod
    def stop(self, call: Call) -> None: ...

    @abstractmethod
    def _open_lane(self) -> Lane: ...

    async def close(self) -> None:
        """Cancel every call and wait until the threads have left, but those whose call cannot be stopped."""
        with self._lock:
            self._closed = True
            calls = [*self._waiting, *self._running]
            self._waiting.clear()
        for call in calls:
            call.cancel()
        with self._lock:
            for _ in range(self._members):
                self._inbox.put(None)
            self._dismiss_if_empty()
        dismissed = asyncio.wrap_future(self._dismissed)
        await asyncio.wait({dismissed}, timeout=CLOSE_SECONDS)
        dismissed.cancel()
        for thread in self._leavers:
            thread.join()  # they are past their last line: this only waits for the interpreter to let go of them

    def _admit(self, *, here: bool = False) -> Call | None:
        """Begin what may begin. The lock is held.

        With `here` the calling thread is free, and takes the first call for a thread itself: to wake another one costs
        more than a small call does.
        """
        mine: Call | None = None
        while self._waiting and len(self._running) < self._width and self._abandoned < MAX_ABANDONED:
            call = self._waiting.popleft()
            if call.ended:
                continue
            self._running.add(call)
            if self._begin_elsewhere(call):
                continue
            if here and mine is None:
                mine = call
            elif not self._hand_over(call):
                break
        return mine

    def _begin_elsewhere(self, call: Call) -> bool:
        """Begin a call that needs no thread of the crew, if it is one. The lock is held."""
        del call
        return False

    def _hand_over(self, call: Call) -> bool:
        """Give the call to an idle thread or a new one. False if there is none to have, and the call waits on."""
        if self._idle:
            self._idle -= 1
        else:
            try:
                threading.Thread(target=self._work, name=f"{self._name}-{self._members + 1}", daemon=True).start()
            except RuntimeError:  # the system gives no more: the threads that there are will come to this call
                self._running.discard(call)
                if not self._members:
                    raise
                self._waiting.appendleft(call)
                return False
            self._members += 1
        self._inbox.put(call)
        return True

    def _work(self) -> None:
        """A thread's life."""
        lane = self._open_lane()
        call = self._inbox.get()
        while call is not None:
            try:
                lane.run(call)
            except BaseException as error:  # noqa: BLE001 — ours or the system's: a call must not be left without an end
                call.fail(InfrastructureLost(f"the executor could not compute {call.name}: {error!r}"))
            stays, call = self._give_back(call)  # and lets go of the old one: an idle thread must keep no result alive
            if not stays:
                return  # this thread was written off with its call
            if call is None:
                call = self._inbox.get()
        lane.close()
        self._leave()

    def _give_back(self, call: Call) -> tuple[bool, Call | None]:
        """The work of the call is over. Tells whether its place was still its own, and what to compute next."""
        with self._lock:
            if call not in self._running:
                self._abandoned -= 1
                self._admit()
                return False, None
            self._running.discard(call)
            following = self._admit(here=True)
            if following is None:
                self._idle += 1
            return True, following

    def _leave(self) -> None:
        with self._lock:
            self._leavers.append(threading.current_thread())
            self._members -= 1
            self._dismiss_if_empty()

    def _dismiss_if_empty(self) -> None:
        """Let `close` go on when no thread is left. The lock is held."""
        if self._closed and not self._members and not self._dismissed.done():
            self._dismissed.set_result(None)
