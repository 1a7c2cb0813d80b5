"""Identity: a call's place in its flow, not its time. Owns scopes, who owns them, and the counting in them.

A key is the path of scopes, the task's name, and the count of that name in its scope. A scope has one owner, the asyncio task or
thread that opened it; only its owner counts in it, so that timing never shifts a number. DURABILITY.md section 4.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

from playhead.core.names import TaskKey
from playhead.errors import MisusedCall

MAX_KEY_LENGTH: Final = 512  # what an event's key field holds

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class Scope:
    """A place that calls are counted in. `path` is "" for the flow itself, else ends in "/"."""

    __slots__ = ("_counts", "_names", "is_async", "owner", "path")

    def __init__(self, path: str, owner: object, *, is_async: bool) -> None:
        self.path = path
        self.owner = owner
        self.is_async = is_async
        self._counts: dict[str, int] = {}
        self._names: set[str] = set()

    def next_key(self, name: str) -> TaskKey:
        """The next place of that name: name, name~2, name~3 …"""
        if name in self._names:
            raise MisusedCall(f"the key {self.path}{name} was given away by name", hint="use a name that no task has")
        count = self._counts.get(name, 0) + 1
        self._counts[name] = count
        return check_length(TaskKey(self.path + (name if count == 1 else f"{name}~{count}")))

    def named_key(self, name: str) -> TaskKey:
        """The place of exactly that name. Raises MisusedCall when the scope has given it away."""
        if name in self._names or name in self._counts:
            raise MisusedCall(
                f"the key {self.path}{name} is taken in this run", hint="with_key needs a name used once in its scope"
            )
        self._names.add(name)
        return check_length(TaskKey(self.path + name))


_scope_var: ContextVar[Scope | None] = ContextVar("playhead_scope", default=None)


class Identity:
    """The scopes of one run. `root` belongs to the flow's own asyncio task (or thread)."""

    def __init__(self, *, is_async: bool) -> None:
        self.root = Scope("", None, is_async=is_async)
        self._foreign_names: set[str] = set()

    @property
    def has_foreign(self) -> bool:
        """Whether callbacks or threads have opened scopes of their own."""
        return bool(self._foreign_names)

    def enter_root(self) -> None:
        """The caller becomes the root's owner, in its context."""
        self.root.owner = _whoever_runs()
        _scope_var.set(self.root)

    def current(self) -> Scope:
        """The scope that the running code owns. Raises MisusedCall for code that owns none."""
        scope = _scope_var.get()
        if scope is None or scope.owner is not _whoever_runs():
            raise MisusedCall(
                "a task was called where the flow has no place for it: in a callback, another thread, or a library's own task",
                hint='open a place of its own: `with playhead.scope("name"):`',
            )
        return scope

    def current_or_none(self) -> Scope | None:
        scope = _scope_var.get()
        return scope if scope is not None and scope.owner is _whoever_runs() else None

    @contextmanager
    def opened(self, name: str, *, is_async: bool | None = None) -> Generator[Scope]:
        """A scope below the current one, or, where the running code owns none, below the root; there the name must be new."""
        parent = self.current_or_none()
        if parent is None:
            if name in self._foreign_names:
                raise MisusedCall(
                    f"the scope {name!r} was opened twice outside the flow's own code",
                    hint="callbacks and threads come in any order: give each scope there a name of its own",
                )
            self._foreign_names.add(name)
            path = self.root.named_key(name)
        else:
            path = parent.next_key(name)
        async_here = is_async if is_async is not None else (parent or self.root).is_async
        scope = Scope(f"{path}/", _whoever_runs(), is_async=async_here)
        token = _scope_var.set(scope)
        try:
            yield scope
        finally:
            _scope_var.reset(token)

    def task_factory(self) -> Callable[..., asyncio.Task[Any]]:
        """For the flow's loop: a child task gets a scope named by its coroutine, counted per (parent, name)."""

        def make(
            loop: asyncio.AbstractEventLoop,
            coro: Coroutine[Any, Any, Any],
            *,
            context: Context | None = None,
            **kwargs: Any,
        ) -> asyncio.Task[Any]:
            parent = self.current_or_none()
            context = copy_context() if context is None else context.copy()
            scope = None
            if parent is not None:
                scope = Scope(f"{parent.next_key(coroutine_name(coro))}/", None, is_async=parent.is_async)
            context.run(_scope_var.set, scope)
            task = asyncio.Task(coro, loop=loop, context=context, **kwargs)
            if scope is not None:
                scope.owner = task
            return task

        return make


def check_length(key: TaskKey) -> TaskKey:
    """The key itself, if an event may hold it; else a MisusedCall."""
    if len(key) > MAX_KEY_LENGTH:
        raise MisusedCall(
            f"the key {key[:80]}… is longer than {MAX_KEY_LENGTH} letters", hint="nest scopes and flows less deeply"
        )
    return key


def coroutine_name(coro: Coroutine[Any, Any, Any]) -> str:
    """A name for the coroutine's place: the function's own, looked up behind wrappers and anyio's runner."""
    code_name = getattr(coro, "__qualname__", type(coro).__qualname__)
    frame = getattr(coro, "cr_frame", None)
    if frame is not None and code_name.endswith("_run_coro"):
        inner = frame.f_locals.get("coro") or getattr(frame.f_locals.get("self"), "_coro", None)
        if inner is not None:
            return coroutine_name(inner)
    if frame is not None:
        wrapped = frame.f_locals.get("__wrapped__")
        code_name = getattr(wrapped, "__qualname__", code_name)
    name = _UNSAFE.sub("_", code_name.rpartition(".")[2].strip("<>")).strip("_") or "task"
    return name[:64]


def _whoever_runs() -> object:
    """The asyncio task that runs here, or this thread where no loop runs. In a loop's callback: nobody."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return threading.current_thread()
    return asyncio.current_task() or object()
