"""Group commit: the queue of appends, and the one task that commits them. Owns batching, retries of unknown outcomes and
the drain at the end; knows nothing of readers.

While a commit is under way the appends that arrive wait together and become the next batch: nothing waits for a timer,
and a hundred appenders share one flush of the disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import msgspec

from playhead.errors import LogError, LogUnusable, OutcomeUnknown, UsageError
from playhead.ports.store import Append, Outcome, StoreBackend

QUEUE_APPENDS: Final = 10_000  # that may wait for a commit; more than that wait for room, which slows their callers
BATCH_APPENDS: Final = 1_000  # in one commit: a flush is long since paid for, and the first of them waits for the last
BATCH_EVENTS: Final = 5_000  # in one commit, unless one append alone has more; bounds its bytes, since events are small
SETTLE_DELAYS_SECONDS: Final = (0.0, 0.05, 0.2, 0.5, 1.0)  # before each new try to settle an unknown outcome

OnCommitted = Callable[[Sequence[Append], Sequence[Outcome]], None]


class _Waiting(msgspec.Struct, frozen=True):
    append: Append
    outcome: asyncio.Future[Outcome]


class Commits:
    """`run` is one task for as long as the log is open; `append` may be called by any number of them."""

    def __init__(self, backend: StoreBackend, on_committed: OnCommitted) -> None:
        self._backend = backend
        self._on_committed = on_committed
        self._queue: deque[_Waiting] = deque()
        self._wanted = anyio.Event()  # there is something in the queue, or nothing will come any more
        self._room = anyio.Event()  # the queue was emptied by a batch since this was made
        self._settled = anyio.Event()  # no commit is under way
        self._settled.set()
        self._closing = False
        self._drained = anyio.Event()
        self._scope = anyio.CancelScope(shield=True)

    async def append(self, append: Append) -> Outcome:
        """The append's outcome, once it is durable. Cancelling this leaves the append in the queue.

        Raises what the backend raised, OutcomeUnknown if all tries to settle it failed, and LogUnusable after `close`.
        """
        if not append.events:
            raise UsageError(f"append {append.append_id!r} to stream {append.stream} holds no event")
        while len(self._queue) >= QUEUE_APPENDS and not self._closing:
            await self._room.wait()
        if self._closing:
            raise LogUnusable("the log is closed", hint="append while it is open, inside `async with Log.open(...)`")
        waiting = _Waiting(append, asyncio.get_running_loop().create_future())
        if not self._queue:
            self._wanted.set()
        self._queue.append(waiting)
        return await waiting.outcome

    async def run(self) -> None:
        """Commit batches until the queue is closed and drained. Shielded: only `close` ends it."""
        with self._scope:
            try:
                while await self._work():
                    await self._commit_next()
            finally:
                self._settled.set()
                self._drained.set()

    async def settle(self) -> None:
        """Return when no commit is under way: what the backend told of before has been handed on."""
        await self._settled.wait()

    async def close(self, *, limit_seconds: float) -> None:
        """Take no more appends, and return when the queue is empty, or at the limit, when the rest is given up."""
        self._closing = True
        self._wanted.set()
        self._room.set()
        with anyio.move_on_after(limit_seconds, shield=True):
            await self._drained.wait()
        self._scope.cancel()
        unknown = OutcomeUnknown("the log was closed before this append was committed", hint="append it again")
        for waiting in self._queue:
            _fail(waiting, unknown)
        self._queue.clear()

    async def _work(self) -> bool:
        """Wait for something to commit; False when the queue is closed and empty."""
        while not self._queue and not self._closing:
            await self._wanted.wait()
            self._wanted = anyio.Event()
        return bool(self._queue)

    async def _commit_next(self) -> None:
        batch = self._take()
        self._settled = anyio.Event()
        try:
            await self._commit(batch)
        except BaseException:  # given up by `close`: otherwise everyone has been told
            unknown = OutcomeUnknown("the log was closed while this append was committed", hint="append it again")
            for waiting in batch:
                _fail(waiting, unknown)
            raise
        finally:
            self._settled.set()

    def _take(self) -> list[_Waiting]:
        batch, events = [self._queue.popleft()], 0
        while self._queue and len(batch) < BATCH_APPENDS:
            events += len(batch[-1].append.events)
            if events + len(self._queue[0].append.events) > BATCH_EVENTS:
                break
            batch.append(self._queue.popleft())
        self._room.set()
        self._room = anyio.Event()
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        """Commit, and tell everyone what became of it. An error that one append brings with it meets that one alone."""
        appends = [waiting.append for waiting in batch]
        try:
            outcomes = await self._commit_until_known(appends)
        except LogError as error:
            for waiting in batch:
                _fail(waiting, error)
        except Exception as error:  # noqa: BLE001 — data that is no JSON, or a bug of the backend: it belongs to who appends
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for waiting in batch:
                await self._commit([waiting])
        else:
            # Who appended is woken before those who follow, so that what a command knows by now nobody folds once more.
            for waiting, outcome in zip(batch, outcomes, strict=True):
                told = waiting.outcome
                if not told.done():
                    told.set_result(outcome)
            self._on_committed(appends, outcomes)

    async def _commit_until_known(self, appends: Sequence[Append]) -> list[Outcome]:
        """An unknown outcome is settled by the same appends under the same ids, never by reading.

        Once it is unknown, a store that cannot be used, as a database that is started again, settles nothing: it is asked on.
        """
        unknown: LogError | None = None
        for delay_seconds in (*SETTLE_DELAYS_SECONDS, None):
            try:
                return await self._commit_once(appends)
            except OutcomeUnknown as error:
                unknown = error
            except LogError as error:
                if unknown is None:
                    raise
                unknown = OutcomeUnknown(f"{unknown.message}; and then {error.message}", hint=error.hint)
            if delay_seconds is None:
                break
            await anyio.sleep(delay_seconds)
        assert unknown is not None, "only who does not know comes here"
        raise unknown

    async def _commit_once(self, appends: Sequence[Append]) -> list[Outcome]:
        outcomes = await self._backend.commit(appends)
        if len(outcomes) != len(appends):
            raise LogUnusable(
                f"the store answered {len(appends)} appends with {len(outcomes)} outcomes",
                hint="this store breaks its contract: check it with playhead.testing.stores.check_store",
            )
        return outcomes


def _fail(waiting: _Waiting, error: Exception) -> None:
    """Tell an appender, unless it was told or has left."""
    if not waiting.outcome.done():
        waiting.outcome.set_exception(error)
