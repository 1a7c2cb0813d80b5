"""What a run and its tasks ended with, read on the user's side: results, failures, and the texts of failures for a view.

Everything is verified before it is loaded, and texts are read without loading anything. All of this is synchronous: callers on an event
loop go through a thread. `history` needs to hold the run's claims only (`journals.claims_of`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from playhead.client.journals import OUTCOMES, TASK_FAILURES, RunJournals
from playhead.core.events import UNSEALED
from playhead.core.state import RunStatus
from playhead.core.views import ErrorView, RunView, TaskView
from playhead.errors import PlayheadError, StorageError, TrustError, UsageError
from playhead.home import Home
from playhead.ports.storage import Storage
from playhead.ports.store import Recorded
from playhead.trust.code import SEALED_MODULES, load_code
from playhead.trust.failure import Failure, failure_text, load_failure
from playhead.trust.payload import load
from playhead.trust.seal import read_seal


def result_of(view: RunView, history: Iterable[Recorded], home: Home) -> Any:
    """The value of a run that succeeded.

    UsageError: it did not. StorageLost, JournalCorrupt, TrustError: its record cannot be read. UnloadableOutcome: it is there, and
    its class is not. FlowLoadError: it is of the flow's own file, and that does not load here.
    """
    if view.state is not RunStatus.SUCCEEDED or view.result is None:
        raise UsageError(f"run {view.run_id} has no result: it is {view.state}", hint=f"playhead show {view.run_id}")
    journals = RunJournals(view, history, home)
    payload = journals.payload(view.result, OUTCOMES, None)
    if _needs_code(payload):
        _load_code(view, journals.storage, home)
    return load(payload, f"the result of flow run {view.run_id}")


def failure_of(view: RunView, history: Iterable[Recorded], home: Home, task: str | None = None) -> Failure:
    """Why the run failed, or that task of it. Its exception is the one that was raised, or what is left of it.

    UsageError: it did not fail. Other errors as for `result_of`.
    """
    error = view.error if task is None else next((each.error for each in view.tasks if each.key == task), None)
    what = f"run {view.run_id}" if task is None else f"task {task} of run {view.run_id}"
    if error is None or error.record is None:
        raise UsageError(f"{what} has no failure to read", hint=f"playhead show {view.run_id}")
    journals = RunJournals(view, history, home)
    payload = journals.payload(error.record, OUTCOMES if task is None else TASK_FAILURES, task)
    if _needs_code(payload):
        with suppress(PlayheadError):  # the failure has its text and traceback also without the code
            _load_code(view, journals.storage, home)
    return load_failure(payload)


def explain(view: RunView, history: Iterable[Recorded], home: Home) -> RunView:
    """The view with type, text and traceback of each failure; loads nothing. What cannot be read says so in its place.

    TrustError: the run was asked for with a key that is not here. StorageLost: its storage is not.
    """
    failed = any(task.error is not None for task in view.tasks)
    if view.error is None and not failed:
        return view
    journals = RunJournals(view, history, home)
    tasks = tuple(_explained_task(task, journals) for task in view.tasks) if failed else view.tasks
    error = None if view.error is None else _explained(view.error, journals, None)
    return view.model_copy(update={"error": error, "tasks": tasks})


def _explained_task(task: TaskView, journals: RunJournals) -> TaskView:
    if task.error is None:
        return task
    return task.model_copy(update={"error": _explained(task.error, journals, task.key)})


def _explained(error: ErrorView, journals: RunJournals, task: str | None) -> ErrorView:
    if error.record is None:
        return error
    try:
        text = failure_text(journals.payload(error.record, OUTCOMES if task is None else TASK_FAILURES, task))
    except (StorageError, TrustError) as unreadable:
        return error.model_copy(update={"message": f"its text cannot be read: {unreadable}"})
    return error.model_copy(update={"type": text.type_name, "message": text.text, "traceback": text.traceback})


def _needs_code(payload: bytes) -> bool:
    """Whether it names a class of a sealed file: such a module exists only where that file was loaded."""
    return SEALED_MODULES.encode() in payload


def _load_code(view: RunView, storage: Storage, home: Home) -> None:
    if view.seal != UNSEALED:  # the code of an embedded run is the calling program's
        load_code(read_seal(storage, view.flow, view.seal, home.keys.flow_key(view.flow, key_id=view.key_id)))
