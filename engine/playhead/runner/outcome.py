"""How a run ended: the flow's own end as a record, and what its caller is told of it once the log has acknowledged it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from playhead.core import events as ev
from playhead.core.names import FLOW_KEY, RunId
from playhead.core.state import RunStatus
from playhead.errors import FlowRunCancelled, FlowRunCrashed, FlowRunFailed, UnloadableOutcome
from playhead.journal.format import Blob, Record
from playhead.journal.reader import load_payload
from playhead.ports.storage import Storage
from playhead.runner import perform as pf
from playhead.runner.payloads import Payloads
from playhead.trust.failure import dump_failure, load_failure
from playhead.trust.payload import dump, load

_STATUS: Final = {
    ev.RunSucceeded.TYPE: RunStatus.SUCCEEDED,
    ev.RunFailed.TYPE: RunStatus.FAILED,
    ev.RunCancelled.TYPE: RunStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run ended, as the log has acknowledged it. `error` is the flow's own failure, as it reads back."""

    status: RunStatus
    value: Any = None
    error: BaseException | None = None
    task_key: str | None = None

    def unwrap(self, run: RunId) -> Any:
        """The flow's value; else FlowRunFailed, FlowRunCancelled or FlowRunCrashed."""
        if self.status is RunStatus.SUCCEEDED:
            return self.value
        if self.status is RunStatus.CANCELLED:
            raise FlowRunCancelled(run) from self.error
        if self.status is RunStatus.CRASHED:
            raise FlowRunCrashed(run, "its lease had ended before its outcome came")
        raise FlowRunFailed(run, self.task_key, self.error)


def succeeded_record(payloads: Payloads, value: Any) -> Record:
    """The flow returned this; where it cannot be pickled, the flow failed."""
    try:
        payload = dump(value)
    except UnloadableOutcome as error:
        return failed_record(payloads, error)
    kept, mac = payloads.keep(FLOW_KEY, 1, payload)
    return _record(ev.RunSucceeded(at=_now(), mac=mac, size=payloads.size_told(len(payload))), kept)


def failed_record(payloads: Payloads, error: BaseException, task: str | None = None) -> Record:
    """The flow raised this. `task`: the one whose failure it is."""
    kept, mac = payloads.keep(FLOW_KEY, 1, dump_failure(error))
    return _record(ev.RunFailed(at=_now(), category=pf.category_of(error), task=task, mac=mac), kept)


def cancelled_record() -> Record:
    """Somebody asked for its end."""
    return _record(ev.RunCancelled(at=_now()), None)


def read_back(storage: Storage, run: RunId, record: Record, status: RunStatus | None) -> Outcome:
    """What the record says, if that is how the log has the run: `status`, where the server told one."""
    if status is not None and status is not _STATUS[record.type]:
        return Outcome(status)  # it came too late: the server had ended the run, and that stays
    if record.type == ev.RunCancelled.TYPE:
        return Outcome(RunStatus.CANCELLED)
    payload = load_payload(storage, record, where=f"run {run}")
    if record.type == ev.RunSucceeded.TYPE:
        return Outcome(RunStatus.SUCCEEDED, load(payload, f"the result of flow run {run}"))
    return Outcome(RunStatus.FAILED, None, load_failure(payload).exception, record.data.get("task"))


def _record(event: ev.RunOutcome, payload: bytes | Blob | None) -> Record:
    return Record(event.TYPE, event.SCHEMA, ev.encode(event), None, payload)


def _now() -> int:
    return time.time_ns() // 1000
