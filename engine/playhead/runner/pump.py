"""The pump: delivers outcomes to the flow in journal order, each only when the flow has nothing else to do.

One pump for each flow. In an async flow it lives in the selector of the flow's own loop: a stock asyncio loop asks its selector
to wait exactly when nothing is ready to run, and that is the moment to deliver one outcome. In a flow that is not async it
delivers while the flow waits for a result. During a resume it holds the recorded outcomes, and finds out when the flow never
asks for the next of them. DURABILITY.md section 4.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from playhead.core.names import TaskKey
from playhead.errors import Diverged, MisusedCall
from playhead.flows.future import TaskFuture, Waiter

MAX_BUSY_SECONDS: Final = 600.0  # a flow that does not rest for so long, while outcomes wait for it, is stuck
# That a resumed flow may wait for a thread or a process of its own, which nobody here can see
QUIET_SECONDS: Final = 30.0
DELIVERIES: Final = 1_000  # in a row, between two looks at the loop's timers and I/O
SIGNAL_SECONDS: Final = 1.0  # a Ctrl-C that comes just before a wait begins is seen only when that wait ends
LOOK_SECONDS: Final = 1.0  # while catching up: how often a flow that waits for something of its own is looked at


class Delivery(Protocol):
    """An outcome to be handed to the flow."""

    @property
    def key(self) -> TaskKey: ...

    @property
    def awaited(self) -> bool:
        """Whether any code of the flow would run by its delivery. Asked in any thread; while the flow sleeps it does not change."""
        ...

    def deliver(self) -> None:
        """Complete the future that waits for it; called in the flow's thread."""
        ...


class Inbox:
    """Outcomes on their way to the flow, in journal order. Filled by any thread, emptied by the flow's.

    `recorded` are keys whose outcomes an earlier runner recorded, oldest first; `asked` gives the delivery for such a key once
    the flow has asked for it. Live outcomes are not delivered before the last of them.
    """

    def __init__(self, *, asked: Callable[[TaskKey], Delivery | None], caught_up: Callable[[], None]) -> None:
        self._live: deque[Delivery] = deque()
        self._recorded: deque[TaskKey] = deque()
        self._asked = asked
        self._caught_up = caught_up
        self._taken: set[TaskKey] = set()
        self._news = threading.Condition()
        self._delivering = threading.RLock()
        self._waker: Callable[[], None] | None = None
        self._asleep = False
        self._urgent = False  # since the loop sleeps: among what came is something that somebody waits for
        self._waiters = 0
        self._comes: list[Callable[[], bool]] = []  # of each waiting thread: whether it is worth its while to wake up
        self._error: BaseException | None = None
        self.catching_up = False

    def load(self, recorded: deque[TaskKey]) -> None:
        self._recorded = recorded
        self.catching_up = bool(recorded)
        if not recorded:
            self._caught_up()

    def put(self, delivery: Delivery) -> None:
        """A live outcome counts now. Any thread, which calls `wake` when it has put all that it has."""
        self._live.append(delivery)
        if delivery.awaited:
            self._urgent = True

    def check(self) -> None:
        """Raises what the flow must end with, if it must."""
        if self._error is not None:
            raise self._error

    def fail(self, error: BaseException) -> None:
        """The flow must end: raised in its thread the next time that it waits, or that its loop has a turn."""
        self._error = error
        self.wake()

    def taken(self, key: TaskKey) -> None:
        """A recorded outcome was given to the flow at once (a fact), and needs no delivery."""
        self._taken.add(key)

    def wake(self) -> None:
        """Wake whoever sleeps, if there is something for them. An outcome that nobody waits for is delivered in its order all the
        same, but not before there is another reason to wake up."""
        waker = None
        with self._news:
            if self._waiters and (self._error is not None or self.catching_up or any(comes() for comes in self._comes)):
                self._news.notify_all()
            if self._asleep and (self._urgent or self._waiters or self._error is not None or self.catching_up):
                self._asleep = False
                waker = self._waker
        if waker is not None:
            waker()  # not under the lock: it is a system call, and who wants the lock meanwhile would have to sleep for it

    def deliver_one(self) -> bool:
        """Deliver the next outcome, if there is one that may be delivered. One thread at a time, and in an async flow only its own."""
        with self._delivering:
            self.check()
            if self.catching_up:
                return self._deliver_recorded()
            if not self._live:
                return False
            self._hand_over(self._live.popleft())
            return True

    def _deliver_recorded(self) -> bool:
        while self._recorded and self._recorded[0] in self._taken:
            self._taken.discard(self._recorded.popleft())
        if not self._recorded:
            self.catching_up = False
            self._caught_up()
            return self.deliver_one()
        delivery = self._asked(self._recorded[0])
        if delivery is None:
            return False
        self._recorded.popleft()
        self._hand_over(delivery)
        return True

    def _hand_over(self, delivery: Delivery) -> None:
        delivery.deliver()
        if self._waiters:
            with self._news:
                self._news.notify_all()

    @property
    def pending(self) -> bool:
        """Whether outcomes wait to be delivered, or are still to be asked for."""
        return self.catching_up or bool(self._live)

    def next_recorded(self) -> TaskKey | None:
        return self._recorded[0] if self._recorded else None

    def refuse_divergence(self) -> None:
        """The flow rests and waits for nothing of its own: if a recorded outcome is still not asked for, it has diverged."""
        key = self.next_recorded()
        if key is not None:
            raise Diverged(
                f"this flow diverged: earlier it asked for task {key}, and now it waits without having asked for it",
                task_key=key,
            )

    def wait(self, done: Callable[[], bool], comes: Callable[[], bool]) -> None:
        """Block until there may be something to deliver, or another thread has delivered what is waited for. `comes`: whether the
        outcome that is waited for counts; what comes before it can wait, too."""
        with self._news:
            if not done() and not self._has_news():
                self._sleep(comes)

    def _sleep(self, comes: Callable[[], bool]) -> None:
        self._waiters += 1
        self._comes.append(comes)
        try:
            main = threading.current_thread() is threading.main_thread()
            self._news.wait(SIGNAL_SECONDS if main else None)
        finally:
            self._waiters -= 1
            self._comes.remove(comes)

    def _has_news(self) -> bool:
        if self.catching_up:
            key = self.next_recorded()
            return self._error is not None or key is None or key in self._taken or self._asked(key) is not None
        return self._error is not None or bool(self._live)

    def wait_delivered(self, done: Callable[[], bool]) -> None:
        """Block another thread of an async flow until its loop has delivered that."""
        with self._news:
            while not (done() or self._error is not None):
                if self._asleep and self._waker is not None:
                    self._asleep = False
                    self._waker()  # there may be outcomes that the loop was not woken for
                self._sleep(done)
        if not done() and self._error is not None:
            raise self._error

    def before_sleep(self, waker: Callable[[], None]) -> bool:
        """Announce that the flow's loop is about to sleep. False: there is news, do not."""
        with self._news:
            self._urgent = False  # before the look: whoever puts after it sets it again, and then finds the loop asleep
            if self._error is not None or (self._live and not self.catching_up):
                return False
            self._waker = waker
            self._asleep = True
            return True

    def after_sleep(self) -> None:
        with self._news:
            self._asleep = False


class PumpSelector(selectors.BaseSelector):
    """The selector of a flow's loop: before it waits it delivers. Everything else is the default selector's.

    An error of the inbox is raised out of the loop's `run_until_complete`.
    """

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self._inbox: Inbox | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy_since: float | None = None  # while catching up: since when nothing could be delivered
        self._runs_since: float | None = None  # since when outcomes wait for it to rest
        self._stopped = False

    def stop(self) -> None:
        """Deliver nothing more: the flow has ended, and its loop only cleans up."""
        self._stopped = True

    def attach(self, loop: asyncio.AbstractEventLoop, inbox: Inbox) -> None:
        """From here on, deliver what comes into this inbox."""
        self._loop = loop
        self._inbox = inbox

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._inbox is None or self._stopped:
            return self._inner.select(timeout)
        if timeout is not None and timeout <= 0:
            self._check_that_it_rests(self._inbox)
            return self._inner.select(timeout)
        # Nothing is ready to run: the flow rests.
        ready = self._inner.select(0)
        if ready:
            self._check_that_it_rests(self._inbox)
            return ready
        return self._rest(self._inbox, timeout)

    def _check_that_it_rests(self, inbox: Inbox) -> None:
        """A flow that always has something to run, as one that polls a future does, is never given what it waits for."""
        inbox.check()
        if not inbox.pending:
            self._runs_since = None
            return
        now = time.monotonic()
        if self._runs_since is None:
            self._runs_since = now
        elif now - self._runs_since > MAX_BUSY_SECONDS:
            raise MisusedCall(
                f"outcomes of tasks have waited for {MAX_BUSY_SECONDS:.0f} s, and the flow never came to rest to take them",
                hint="`await` a future instead of asking whether it is done, and do long work in tasks",
            )

    def _rest(self, inbox: Inbox, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        self._runs_since = None
        delivered = self._deliver(inbox)
        if delivered or not inbox.catching_up:
            self._busy_since = None
        if delivered:
            return []
        if inbox.catching_up:
            self._check_that_it_asks(inbox, timeout)
        if not inbox.before_sleep(self._wake):
            return []
        try:
            return self._inner.select(_bounded(timeout) if inbox.catching_up else timeout)
        finally:
            inbox.after_sleep()

    def _deliver(self, inbox: Inbox) -> bool:
        """Deliver until something becomes ready to run by it: as long as nothing does, the flow has nothing else to do."""
        loop: Any = self._loop
        count = 0
        while count < DELIVERIES and inbox.deliver_one():  # what it raises ends the loop, and with it the flow
            count += 1
            if loop._ready:
                break
        return count > 0

    def _check_that_it_asks(self, inbox: Inbox, timeout: float | None) -> None:
        """A resumed flow rests, and has not asked for the next recorded outcome: give it time where it may still do so."""
        now = time.monotonic()
        since = self._busy_since = self._busy_since if self._busy_since is not None else now
        if timeout is None and not self._has_io() and (now - since > QUIET_SECONDS or not self._awaits_strangers()):
            inbox.refuse_divergence()
        key = inbox.next_recorded()
        if key is not None and now - since > MAX_BUSY_SECONDS:
            raise Diverged(
                f"this flow did not ask for task {key} again, and was busy with timers or I/O of its own for {MAX_BUSY_SECONDS:.0f} s",
                task_key=key,
            )

    def _has_io(self) -> bool:
        """Whether the flow waits for I/O or for asyncio's threads. One descriptor is the loop's own, for waking it."""
        return len(self._inner.get_map()) > 1 or getattr(self._loop, "_default_executor", None) is not None

    def _awaits_strangers(self) -> bool:
        """Whether some task of the flow waits for what may be completed from outside: a thread, a process, a library."""
        assert self._loop is not None
        waits = [getattr(task, "_fut_waiter", None) for task in asyncio.all_tasks(self._loop)]
        return not all(_is_of_the_run(each) for each in waits)

    def _wake(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_nothing)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


def _nothing() -> None:
    """Makes the loop look again."""


def _bounded(timeout: float | None) -> float:
    return min(timeout, LOOK_SECONDS) if timeout is not None else LOOK_SECONDS


def _is_of_the_run(future: Any) -> bool:
    """Whether only this run's outcomes, or another task of the flow, can complete it."""
    if future is None or isinstance(future, Waiter | TaskFuture | asyncio.Task):
        return True
    parts = getattr(future, "_children", None)  # of asyncio.gather
    return parts is not None and all(_is_of_the_run(part) for part in parts)
