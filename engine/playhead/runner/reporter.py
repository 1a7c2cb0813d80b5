"""Reporting: the runner's side of the server. Holds the lease, sends what the journal made durable, in its order, and hears of cancels.

Runs on a loop of its own, in a thread of its own, so that a flow that blocks neither loses its lease nor goes silent. One request at a
time carries what has gathered meanwhile. The log's answer is the only truth about a run's end. DURABILITY.md sections 3 and 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from playhead.core.names import Epoch, RunId, Seq
from playhead.core.state import RunStatus
from playhead.errors import EpochOver, LogUnusable, OutcomeUnknown, PlayheadError, ServerUnreachable
from playhead.failpoints import reach
from playhead.journal.format import Record, bytes_of
from playhead.ports.server import MAX_BATCH_EVENTS, HeartbeatRequest, ReportRequest, ServerApi, Started
from playhead.runner.boottime import boot_time

GATHER_SECONDS: Final = 0.015  # how long a report waits for company: a request costs more than a millisecond of work
RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)  # pauses between tries while the server is away; the last repeats
BEATS_PER_LEASE: Final = 3  # two heartbeats may be lost
BEAT_SECONDS: Final = 0.5  # that a heartbeat gets at least, however short the lease is
LOOK_AGAIN_SECONDS: Final = 0.001  # at the least: two clocks never agree to the last digit
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024  # of one report, half of what a server reads: a single event may have more

Noted = tuple[Epoch, Seq, Record]


class Reporter:
    """One runner's. `note` takes records in the journal's order from any thread; the rest runs on the reporter's loop.

    `on_cancel` is called once when a cancel is asked for; `on_lease(holds)` when the lease is lost from sight or found again;
    `on_over(error)` when the server says that this runner's time is over. All three in the reporter's thread.
    """

    def __init__(
        self,
        api: ServerApi,
        run: RunId,
        epoch: Epoch,
        grant: str,
        *,
        on_cancel: Callable[[], None],
        on_lease: Callable[[bool], None],
        on_over: Callable[[PlayheadError], None],
        monotonic: Callable[[], float] = boot_time,
    ) -> None:
        self._api = api
        self._run = run
        self._epoch = epoch
        self._grant = grant
        self._on_cancel = on_cancel
        self._on_lease = on_lease
        self._on_over = on_over
        self._monotonic = monotonic
        self._outbox: deque[Noted] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._closed = asyncio.Event()  # no more company will come
        self._waiting = False
        self._lock = threading.Lock()
        self._closing = False
        self._cancel_told = False
        self._lease_seconds = 0.0
        self._lease_from = 0.0
        self._lease_holds = True
        self._lease_end: asyncio.TimerHandle | None = None
        self.state: RunStatus | None = None  # as of the newest answer
        self.over: PlayheadError | None = None

    def note(self, epoch: Epoch, first: Seq, records: Sequence[Record]) -> None:
        """These records count: report them, numbered from `first` on. Any thread; a run's records in order."""
        self._outbox.extend((epoch, Seq(seq), record) for seq, record in enumerate(records, first))
        with self._lock:
            if not self._waiting or self._loop is None:
                return
            self._waiting = False
        self._loop.call_soon_threadsafe(self._news.set)

    def granted(self, started: Started, sent_at: float) -> None:
        """The lease is this runner's, from the moment the request was sent: it may be over when the answer comes."""
        self._lease_seconds = started.lease_seconds
        self._lease_from = sent_at
        if self._monotonic() - sent_at >= started.lease_seconds:
            self._lose_lease()
        if started.cancelling:
            self._tell_cancel()

    async def run(self) -> None:
        """Report and beat until `close` was called and all is delivered, or until this runner's time is over."""
        self._loop = asyncio.get_running_loop()
        beats = asyncio.create_task(self._beat_for_ever())
        self._watch_lease()
        try:
            await self._report_for_ever()
        except Exception as error:  # noqa: BLE001  # whatever ends the reporting must end the run: nobody would hear of it again
            self._end(error)
        finally:
            if self._lease_end is not None:
                self._lease_end.cancel()
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)

    def _end(self, error: Exception) -> None:
        self.over = (
            error if isinstance(error, PlayheadError) else PlayheadError(f"reporting run {self._run} failed: {error!r}")
        )
        self._on_over(self.over)

    def close(self) -> None:
        """Nothing more will come: `run` ends once everything is delivered. Any thread."""
        self._closing = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.set)
            self._loop.call_soon_threadsafe(self._closed.set)

    # --- reports ----------------------------------------------------------------------------------------------------------------

    async def _report_for_ever(self) -> None:
        # The journal's first record is of no interest alone, and so a short run is told in one report.
        await self._gather()
        while True:
            batch = self._take()
            if not batch:
                if self._closing:
                    return
                await self._wait_for_news()
                continue
            await self._send(batch)
            await self._gather()

    async def _gather(self) -> None:
        """Let company come, unless none will or there is enough."""
        if not self._closing and len(self._outbox) < MAX_BATCH_EVENTS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._closed.wait()

    async def _wait_for_news(self) -> None:
        self._news.clear()
        with self._lock:
            self._waiting = True
        if self._outbox or self._closing:
            with self._lock:
                self._waiting = False
            return
        await self._news.wait()

    def _take(self) -> list[Noted]:
        batch: list[Noted] = []
        size = 0
        while self._outbox and len(batch) < MAX_BATCH_EVENTS:
            epoch, _, record = self._outbox[0]
            size += bytes_of(record.data)
            if batch and (epoch != batch[0][0] or size > MAX_BATCH_BYTES):
                break
            batch.append(self._outbox.popleft())
        return batch

    async def _send(self, batch: list[Noted]) -> None:
        request = ReportRequest(
            epoch=self._epoch,
            grant=self._grant,
            origin=batch[0][0],
            first_seq=batch[0][1],
            events=tuple((record.type, record.schema, dict(record.data)) for _, _, record in batch),
        )
        attempt = 0
        while True:
            try:
                reach("report.sending")
                reported = await self._api.report(self._run, request)
                reach("report.answered")
            except (ServerUnreachable, LogUnusable, OutcomeUnknown):
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
                continue
            self.state = reported.state
            if reported.cancelling:
                self._tell_cancel()
            return

    # --- the lease ---------------------------------------------------------------------------------------------------------------

    async def _beat_for_ever(self) -> None:
        request = HeartbeatRequest(epoch=self._epoch, grant=self._grant)
        while True:
            pause = self._lease_seconds / BEATS_PER_LEASE
            await asyncio.sleep(pause if self._lease_holds else min(pause, RETRY_SECONDS[-1]))
            sent_at = self._monotonic()
            try:
                beat = await asyncio.wait_for(self._api.heartbeat(self._run, request), max(pause, BEAT_SECONDS))
            except (ServerUnreachable, LogUnusable, OutcomeUnknown, TimeoutError):
                continue
            except Exception as error:  # noqa: BLE001  # as in `run`
                if not (isinstance(error, EpochOver) and self.state is not None and self.state.terminal):
                    self._end(error)
                return
            self._lease_seconds = beat.lease_seconds
            self._renewed(sent_at)
            if beat.cancelling:
                self._tell_cancel()

    def _renewed(self, sent_at: float) -> None:
        self._lease_from = max(self._lease_from, sent_at)
        self._watch_lease()
        if not self._lease_holds:
            self._lease_holds = True
            self._on_lease(True)

    def _watch_lease(self) -> None:
        """Look at the lease when it ends, also while a heartbeat waits for its answer: from then on nothing may start."""
        assert self._loop is not None
        if self._lease_end is not None:
            self._lease_end.cancel()
        left = self._lease_from + self._lease_seconds - self._monotonic()
        self._lease_end = self._loop.call_later(max(left, LOOK_AGAIN_SECONDS), self._check_lease)

    def _check_lease(self) -> None:
        if self._monotonic() - self._lease_from < self._lease_seconds:
            self._watch_lease()
        elif self._lease_holds:
            self._lose_lease()

    def _lose_lease(self) -> None:
        self._lease_holds = False
        self._on_lease(False)

    def _tell_cancel(self) -> None:
        if not self._cancel_told:
            self._cancel_told = True
            self._on_cancel()
