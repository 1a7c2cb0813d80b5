"""One flow run, from the grant to the acknowledged outcome. Ties journal, reporter, launcher and session together; decides the end.

The order of the steps is the promise: the lease before any flow code, the fence before the reading, the adopted cut before any task,
the journal before the log, and the log's acknowledgement before anyone is told how the run ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.names import Epoch, RunId, Seq
from playhead.errors import (
    PlayheadError,
    RunnerEnded,
    StorageUnavailable,
    TaskCancelled,
    UsageError,
)
from playhead.failpoints import reach
from playhead.flows.context import CurrentRun, running, session_var, task_var
from playhead.flows.flow import Flow
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.room import Room
from playhead.journal.writer import JournalWriter
from playhead.ports.executor import OpenExecutor, ReportingExecutor
from playhead.ports.server import ServerApi, Started
from playhead.ports.storage import Storage
from playhead.runner.capture import capturing, end_line, installed
from playhead.runner.lines import LineFile
from playhead.runner.loopthread import LoopThread
from playhead.runner.means import Means
from playhead.runner.outcome import Outcome, cancelled_record, failed_record, read_back, succeeded_record
from playhead.runner.payloads import Payloads
from playhead.runner.pump import PumpSelector
from playhead.runner.recall import Predecessor, Recall, fence_all, recall
from playhead.runner.reporter import Reporter
from playhead.runner.session import FlowSession
from playhead.runner.upkeep import UpkeepThread
from playhead.trust.cipher import Cipher
from playhead.trust.keys import DerivedKey

log = logging.getLogger("playhead.runner")

CLEAN_UP_SECONDS: Final = 10.0  # what a flow's own asyncio tasks get to end after they were cancelled

Loader = Callable[[], tuple[Flow[..., Any], dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A run that this process may execute, and how."""

    run: RunId
    flow: str
    epoch: Epoch
    grant: str
    scheduled_for: int
    key: DerivedKey
    storage: Storage
    encrypt: bool = False  # what the run writes

    @property
    def place(self) -> JournalPlace:
        return JournalPlace(self.run, self.epoch, self.grant)


class Execution:
    """Runs one granted flow run in the calling thread. `api` is used on `link`'s loop only.

    `on_broken(error)` is called, in any thread, when this runner must end at once whatever the flow is doing.
    """

    def __init__(
        self,
        grant: Grant,
        api: ServerApi,
        link: LoopThread,
        started: Started,
        sent_at: float,
        *,
        on_broken: Callable[[PlayheadError], None] = lambda _: None,
    ) -> None:
        self._grant = grant
        self._link = link
        self._on_broken = on_broken
        self._lock = threading.Lock()
        self._broken: PlayheadError | None = None
        self._cancelled = False
        self._leased = True
        self._session: FlowSession | None = None
        self._main: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reporter = Reporter(
            api, grant.run, grant.epoch, grant.grant,
            on_cancel=self.cancel, on_lease=self._lease, on_over=self._break,
        )  # fmt: skip
        self._reporter.granted(started, sent_at)
        self._reported = started.reported
        secret = grant.key.secret
        self._room = Room(grant.run, still_wanted=self._check_broken)
        self._payloads = Payloads(grant.place, grant.key, grant.storage, self._room, encrypt=grant.encrypt)
        self._lines = LineFile(grant.storage, grant.place, Cipher(secret, "lines") if grant.encrypt else None)
        self._journal = JournalWriter(
            grant.storage,
            grant.place,
            secret,
            cipher=Cipher(secret, "journal") if grant.encrypt else None,
            on_durable=partial(self._reporter.note, grant.epoch),
            on_end=self._break,
            on_batch=self._counted,
            room=self._room,
        )

    def execute(self, load_flow: Loader, earlier: Sequence[Predecessor]) -> Outcome:
        """Continue what earlier epochs began, and bring the run to its end. Raises RunnerEnded when another must do so, or the
        storage's or log's error that made it impossible; then nothing that was acknowledged is lost."""
        reporting = self._link.spawn(self._reporter.run())
        try:
            self._room.insist(lambda: fence_all(self._grant.storage, earlier, self._grant.epoch))
            recalled = recall(self._grant.storage, earlier, self._grant.key.secret)
            for epoch, records in recalled.adopted.items():
                first = self._reported[epoch - 1]
                self._reporter.note(epoch, Seq(first), records[first:])
            if recalled.ended is not None and recalled.ended.outcome is not None:
                return self._acknowledged(recalled.ended.outcome, reporting)
            adopted = ev.JournalAdopted(at=_now(), cuts=recalled.cuts)
            self._journal.commit_and_wait(Record(adopted.TYPE, adopted.SCHEMA, ev.encode(adopted)))
            reach("runner.adopted")
            outcome = self._run(load_flow, recalled)
            self._journal.conclude(outcome)
            reach("outcome.recorded")
            return self._acknowledged(outcome, reporting)
        finally:
            self._reporter.close()
            self._journal.close()
            self._lines.flush()
            if self._broken is not None:
                reporting.cancel()

    def cancel(self) -> None:
        """End the run, as a cancel that the server knows of would. From any thread, at any time; once is enough."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            session = self._session
        if session is not None:
            self._cancel_session(session)

    # --- the flow ----------------------------------------------------------------------------------------------------------------

    def _run(self, load_flow: Loader, recalled: Recall) -> Record:
        """Load the flow, run it, and give the record of its end."""
        try:
            subject, parameters = load_flow()
            reach("flow.loaded")
            self._payloads.hides_sizes = subject.hide_sizes
        except (RunnerEnded, StorageUnavailable):
            raise  # not the flow's fault, and over some day: another runner may try
        except PlayheadError as error:
            return failed_record(self._payloads, error)
        try:
            opening = subject.executor.open()
        except Exception as error:  # noqa: BLE001 — foreign code: it is not installed here, or does not open
            return failed_record(self._payloads, error)
        upkeep = UpkeepThread(self._journal.commit_some, self._lines.flush, self._fail)
        upkeep.start()
        try:
            return self._run_on(opening, upkeep, subject, parameters, recalled)
        finally:
            upkeep.stop()

    def _run_on(
        self,
        opening: AbstractAsyncContextManager[OpenExecutor],
        upkeep: UpkeepThread,
        subject: Flow[..., Any],
        parameters: dict[str, Any],
        recalled: Recall,
    ) -> Record:
        """Run the flow on the executor while it is open. One that does not open fails the run; one that does not close, nothing."""
        record: Record | None = None
        opened = False
        run_flow = self._run_async if subject.is_async else self._run_blocking
        try:
            with self._link.entered(opening) as executor:
                _check_open(executor, subject.executor.kind)
                opened = True
                record = run_flow(subject, parameters, self._means(subject, executor, upkeep), recalled)
                if isinstance(executor, ReportingExecutor):
                    self._keep_report(executor)
        except Exception as error:
            if not opened:
                return failed_record(self._payloads, error)
            if record is None:
                raise
            log.warning("the executor of run %s did not close as it should: %r", self._grant.run, error)
        assert record is not None
        return record

    def _keep_report(self, executor: ReportingExecutor) -> None:
        from playhead.runner.report import (
            keep_report_of,
        )  # few executors have one, and each module costs each runner's start

        grant = self._grant
        keep_report_of(
            executor, self._link, grant.storage, grant.place, grant.key, self._lines.write, encrypt=grant.encrypt
        )

    def _means(self, subject: Flow[..., Any], executor: OpenExecutor, upkeep: UpkeepThread) -> Means:
        grant = self._grant
        return Means(
            run=grant.run, flow=grant.flow, epoch=grant.epoch, storage=grant.storage, payloads=self._payloads,
            journal=self._journal, executor=executor, upkeep=upkeep, sink=self._lines.write, chance=random.Random(),
            log_prints=subject.log_prints,
        )  # fmt: skip

    def _run_blocking(
        self, subject: Flow[..., Any], parameters: dict[str, Any], means: Means, recalled: Recall
    ) -> Record:
        loop = asyncio.SelectorEventLoop()  # never runs: futures belong to a loop
        try:
            session = self._open_session(means, recalled, loop, is_async=False)
            with self._in_flow(session):
                session.begin()
                try:
                    value = subject.fn(**parameters)
                    session.drain_blocking()
                    return self._ended(session, value)
                except BaseException as error:  # noqa: BLE001  # whatever ends a flow's function is its outcome
                    return self._ended_badly(session, error)
        finally:
            loop.close()

    def _run_async(self, subject: Flow[..., Any], parameters: dict[str, Any], means: Means, recalled: Recall) -> Record:
        selector = PumpSelector()
        loop = asyncio.SelectorEventLoop(selector)

        async def main(session: FlowSession) -> Any:
            session.begin()
            value = await subject.fn(**parameters)
            await session.drain()
            return value

        try:
            session = self._open_session(means, recalled, loop, is_async=True)
            selector.attach(loop, session.inbox)
            loop.set_task_factory(session.identity.task_factory())
            with self._in_flow(session):
                with self._lock:
                    self._loop, self._main = loop, loop.create_task(main(session))
                    if self._cancelled:
                        self._main.cancel()
                try:
                    value = loop.run_until_complete(self._main)
                    return self._ended(session, value)
                except BaseException as error:  # noqa: BLE001  # as above
                    return self._ended_badly(session, error)
        finally:
            selector.stop()
            _clean_up(loop)

    def _open_session(
        self, means: Means, recalled: Recall, loop: asyncio.AbstractEventLoop, *, is_async: bool
    ) -> FlowSession:
        scheduled_for = datetime.fromtimestamp(self._grant.scheduled_for / 1e6, UTC)
        current = CurrentRun(self._grant.run, self._grant.flow, scheduled_for, self._grant.epoch)
        session = FlowSession(means, recalled, current, loop, is_async=is_async, fail=self._fail)
        with self._lock:
            self._session = session
            broken, cancelled, leased = self._broken, self._cancelled, self._leased
        if broken is not None:
            raise broken
        if not leased:  # it ended while the journals were read
            self._lease(leased)
        if cancelled:
            self._cancel_session(session)
        return session

    @contextmanager
    def _in_flow(self, session: FlowSession) -> Generator[None]:
        session_token, task_token = session_var.set(session), task_var.set(None)  # it may be called inside a task
        running.add(session)
        try:
            with installed(), capturing(self._lines.write, log_prints=session.log_prints):
                yield
                end_line()
        finally:
            running.discard(session)
            task_var.reset(task_token)
            session_var.reset(session_token)
            session.end()

    # --- the end -----------------------------------------------------------------------------------------------------------------

    def _ended(self, session: FlowSession, value: Any) -> Record:
        unseen = session.unseen_failure()
        if unseen is not None:
            key, error = unseen
            return failed_record(self._payloads, error, key)
        return succeeded_record(self._payloads, value)

    def _ended_badly(self, session: FlowSession, error: BaseException) -> Record:
        if self._broken is not None:
            raise self._broken from error
        if isinstance(error, RunnerEnded | StorageUnavailable):
            raise error
        session.launcher.cancel_all()
        # A cancel ends the flow's tasks first, and so it may hear of theirs before it hears of its own.
        was_cancelled = self._cancelled and isinstance(error, asyncio.CancelledError | TaskCancelled)
        if was_cancelled or isinstance(error, KeyboardInterrupt):
            return cancelled_record()
        return failed_record(self._payloads, error, session.failed_task(error))

    def _acknowledged(self, record: Record, reporting: Future[None]) -> Outcome:
        """Wait until the log has the outcome, and read it back."""
        self._reporter.close()
        reporting.result()
        if self._reporter.over is not None:
            raise self._reporter.over
        reach("outcome.acknowledged")
        return read_back(self._grant.storage, self._grant.run, record, self._reporter.state)

    # --- what others say, in their threads -----------------------------------------------------------------------------------------

    def _cancel_session(self, session: FlowSession) -> None:
        session.launcher.cancel_all()
        with self._lock:
            loop, main = self._loop, self._main
        if main is not None and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: the flow has ended by itself
                loop.call_soon_threadsafe(main.cancel)
        elif not session.is_async:
            session.inbox.fail(asyncio.CancelledError())

    def _lease(self, holds: bool) -> None:
        with self._lock:
            self._leased = holds
            session = self._session
        if session is not None:
            session.launcher.lease(holds=holds)

    def _counted(self) -> None:
        """A batch of the journal counts."""
        session = self._session
        if session is not None:
            session.launcher.start()
            session.inbox.wake()

    def _fail(self, error: BaseException) -> None:
        self._break(error if isinstance(error, PlayheadError) else PlayheadError(f"the runner is broken: {error!r}"))

    def _check_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _break(self, error: PlayheadError) -> None:
        with self._lock:
            if self._broken is not None:
                return
            self._broken = error
            session = self._session
        if session is not None:
            session.launcher.close()
            session.inbox.fail(error)
        self._on_broken(error)


def _check_open(executor: object, kind: str) -> None:
    """UsageError: what opens executors of this kind gave something else. Told before the flow begins, and with whose mistake it is."""
    lacking = [name for name in ("width", "backlog", "shares_memory", "submit") if not hasattr(executor, name)]
    if lacking:
        raise UsageError(
            f"the executor of kind {kind!r} opened as a {type(executor).__name__}, which has no {' and no '.join(lacking)}",
            hint="what its entry point names must give an async context manager of an OpenExecutor (playhead.ports.executor)",
        )


def _clean_up(loop: asyncio.AbstractEventLoop) -> None:
    """As asyncio.run does: cancel what is left, give it a while, and close."""
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=CLEAN_UP_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()  # does not wait for the threads of asyncio.to_thread: one may be stuck, and the run must end


def _now() -> int:
    return time.time_ns() // 1000
