"""Where the running code is: in a flow, in a task, or in neither. Owns the context variables and the port of a session.

A session is the runner's side of one flow run; tasks and futures talk to it through this port and never import the runner.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from playhead.errors import MisusedCall

if TYPE_CHECKING:
    from playhead.core.kinds import FactKind
    from playhead.flows.future import TaskFuture, TaskFutures
    from playhead.flows.task import Task


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """The run that this code belongs to. `attempt` is the run's in a flow, and the task's own in a task."""

    id: str
    flow: str
    scheduled_for: datetime
    attempt: int
    task_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A task call as the flow wrote it."""

    task: Task[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    wait_for: tuple[Any, ...] = ()
    key: str | None = None  # of `with_key`


class Session(Protocol):
    """The runner's side of one flow run, called in the flow's own thread (or inside `playhead.scope` elsewhere)."""

    @property
    def current(self) -> CurrentRun: ...

    @property
    def is_async(self) -> bool:
        """Whether the innermost flow function is `async def`."""
        ...

    def submit(self, request: CallRequest) -> TaskFuture[Any]: ...

    def map(self, request: CallRequest) -> TaskFutures[Any]: ...

    def wait(self, future: TaskFuture[Any]) -> None:
        """Block the flow until the future is done; for flows that are not async."""
        ...

    def subflow(self, name: str, *, is_async: bool) -> AbstractContextManager[None]: ...

    def scope(self, name: str) -> AbstractContextManager[None]: ...

    def fact(self, kind: FactKind, make: Callable[[], Any]) -> Any:
        """The value made now, or the one recorded when this place in the flow was first reached."""
        ...

    def sleep(self, delay: timedelta) -> Coroutine[Any, Any, None]: ...

    def sleep_blocking(self, delay: timedelta) -> None: ...

    def timeout(self, delay: timedelta) -> AbstractAsyncContextManager[None]: ...


running: Final[set[Session]] = set()  # the flow runs at work in this process, in any thread
session_var: ContextVar[Session | None] = ContextVar("playhead_session", default=None)
task_var: ContextVar[CurrentRun | None] = ContextVar("playhead_task", default=None)


def session_or_none() -> Session | None:
    """The session of the flow whose code this is; None in a task and outside."""
    return session_var.get() if task_var.get() is None else None


def session_for(what: str) -> Session:
    """The session, or a MisusedCall that says where `what` may be used."""
    session = session_or_none()
    if session is not None:
        return session
    task = task_var.get()
    if task is not None:
        raise MisusedCall(
            f"{what} was used inside task {task.task_key}",
            hint="a task does its own work: call the other task's function with `t.fn(...)`, or submit it from the flow",
        )
    raise MisusedCall(
        f"{what} was used outside a running flow, or in a thread that the flow started",
        hint="call it in a flow's own code; asyncio.to_thread takes a flow's context along, and there and in callbacks "
        '`with playhead.scope("name")` gives calls a place',
    )


def current_run() -> CurrentRun:
    """The run that this code belongs to, in a flow and in a task. Raises MisusedCall outside of both."""
    task = task_var.get()
    if task is not None:
        return task
    session = session_var.get()
    if session is None:
        raise MisusedCall(
            "current_run() was called outside a running flow", hint="call it in a flow's or a task's code"
        )
    return session.current
