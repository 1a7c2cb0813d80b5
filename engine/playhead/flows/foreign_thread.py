"""Warns where a thread that a flow may have started calls a task: there it is just the function, and nothing of it is recorded.

Threads do not inherit the context of whoever starts them, so such a call looks like one of a program that happens to run flows
elsewhere, which is welcome to call a task as a function. So it goes on, and is told.
"""

from __future__ import annotations

import threading
import warnings

from playhead.flows.context import running, task_var


class UnrecordedCallWarning(RuntimeWarning):
    """A task's function was run beside a flow, and not as a step of it."""


def warn_in_thread(task: str) -> None:
    """Called where a task is called outside of any flow: is it in a thread of its own, while a flow runs in this process?"""
    thread = threading.current_thread()
    if not running or task_var.get() is not None or thread is threading.main_thread():
        return
    warnings.warn(
        f"task {task} was called in thread {thread.name!r}, which belongs to no flow: nothing of the call is recorded, and a "
        f"resumed run would make it again; use {task}.submit(...) in the flow's own code, or {task}.fn(...) if that is meant",
        UnrecordedCallWarning,
        stacklevel=3,
    )
