"""The report of a run's executor, asked for at the end. A run whose flow has ended does not fail for lack of it: its log says why."""

from __future__ import annotations

from playhead.journal.place import JournalPlace
from playhead.journal.report import keep_report
from playhead.ports.executor import ReportingExecutor
from playhead.ports.storage import Storage
from playhead.runner.capture import Sink, line
from playhead.runner.loopthread import LoopThread
from playhead.trust.keys import DerivedKey


def keep_report_of(
    executor: ReportingExecutor,
    link: LoopThread,
    storage: Storage,
    place: JournalPlace,
    key: DerivedKey,
    sink: Sink,
    *,
    encrypt: bool,
) -> None:
    """Ask for it, and keep it where it was wanted."""
    try:
        page = link.call(executor.report())
        if page is not None:
            keep_report(storage, place, key, page, encrypt=encrypt)
    except Exception as error:  # noqa: BLE001 — an executor of others' may raise anything, and the run has ended
        sink(line("WARNING", "playhead.runner", f"the executor's report was not kept: {error}", None))
