"""A task: a function whose calls are steps of a flow run. Owns its options and its calling conventions."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar, overload

from playhead.core.names import check_name
from playhead.errors import MisusedCall, UsageError
from playhead.flows.context import CallRequest, Session, session_for, session_or_none
from playhead.flows.foreign_thread import warn_in_thread
from playhead.flows.future import TaskFuture, TaskFutures
from playhead.flows.retry import RetryDelay, RetryOn, RetryPolicy

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")


class Unmapped(Generic[R]):
    """An argument of `map` that every element gets whole."""

    def __init__(self, value: R) -> None:
        self.value = value


def unmapped(value: R) -> Unmapped[R]:
    """Pass `value` whole to each element of a map, instead of mapping over it."""
    return Unmapped(value)


class Task(Generic[P, R_co]):
    """What `@task` makes. Called in a flow it is a durable step; called elsewhere it is just the function (`fn`)."""

    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        retry: RetryPolicy | None = None,
        timeout: timedelta | None = None,
        log_prints: bool | None = None,
        resources: Mapping[str, float] | None = None,
        priority: int = 0,
        key: str | None = None,
    ) -> None:
        if not callable(fn):
            raise UsageError(f"@task needs a function, not {fn!r}")
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise UsageError(
                f"{fn.__qualname__} is a generator: a task returns its value once", hint="return a list instead"
            )
        if timeout is not None and timeout <= timedelta(0):
            raise UsageError(f"timeout={timeout} of a task must be longer than nothing")
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = check_name("task", name or fn.__name__.strip("<>"))
        if self.name.rpartition(".")[2].isdecimal() and "." in self.name:
            raise UsageError(
                f"a task cannot be named {self.name!r}", hint="a dot and a number name the elements of maps"
            )
        self.retry = retry or RetryPolicy()
        self.timeout = timeout
        self.log_prints = log_prints
        self.resources = dict(resources or {})
        self.priority = priority
        if any(amount <= 0 for amount in self.resources.values()):
            raise UsageError(f"resources={self.resources} of task {self.name}: a call takes more than nothing of each")
        self.is_async = inspect.iscoroutinefunction(fn)
        self.signature = inspect.signature(fn)
        self._plain = _plain_counts(self.signature)
        self._key = key

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        session = session_or_none()
        if session is None:
            warn_in_thread(self.name)
            return self.fn(*args, **kwargs)
        self._refuse_wrong_color(session)
        future = self.submit(*args, **kwargs)
        return _value_of(future) if self.is_async else future.result()  # type: ignore[return-value]  # the coroutine is R

    @overload
    def submit(
        self: Task[P, Coroutine[Any, Any, A]], *args: Any, wait_for: Any = (), **kwargs: Any
    ) -> TaskFuture[A]: ...
    @overload
    def submit(self, *args: Any, wait_for: Any = (), **kwargs: Any) -> TaskFuture[R_co]: ...
    def submit(self, *args: Any, wait_for: Any = (), **kwargs: Any) -> TaskFuture[Any]:
        """Ask for a call; returns at once. Futures may stand anywhere in the arguments, and the call waits for their values;
        it also waits for those in `wait_for`, without taking their values. Wrong arguments are a TypeError here and now."""
        return session_for(f"{self.name}.submit").submit(self._request(args, kwargs, wait_for))

    @overload
    def map(self: Task[P, Coroutine[Any, Any, A]], *args: Any, wait_for: Any = (), **kwargs: Any) -> TaskFutures[A]: ...
    @overload
    def map(self, *args: Any, wait_for: Any = (), **kwargs: Any) -> TaskFutures[R_co]: ...
    def map(self, *args: Any, wait_for: Any = (), **kwargs: Any) -> TaskFutures[Any]:
        """Ask for a call for each element; returns at once. Iterables map (strings, bytes and mappings do not), `unmapped(x)` does not,
        lengths must agree; a future of a list maps over its elements once it is there (a flow waits for it here)."""
        return session_for(f"{self.name}.map").map(self._request(args, kwargs, wait_for))

    def with_key(self, key: str) -> Task[P, R_co]:
        """The same task, whose next call gets this name in its scope instead of its own with a number. The server learns it: never
        make it from data."""
        return Task(
            self.fn, name=self.name, retry=self.retry, timeout=self.timeout, log_prints=self.log_prints,
            resources=self.resources, priority=self.priority, key=_checked("task key", key),
        )  # fmt: skip

    def _request(self, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Any) -> CallRequest:
        if kwargs or len(args) not in self._plain:
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"task {self.name}: {error}") from None
        waits: tuple[Any, ...] = (wait_for,) if asyncio.isfuture(wait_for) else tuple(wait_for)
        return CallRequest(task=self, args=args, kwargs=kwargs, wait_for=waits, key=self._key)

    def _refuse_wrong_color(self, session: Session) -> None:
        if self.is_async and not session.is_async:
            raise MisusedCall(
                f"{self.name} is an async task, and this flow is not async",
                hint=f"{self.name}.submit(...).result() waits for it here; or make the flow `async def`",
            )
        if not self.is_async and session.is_async:
            raise MisusedCall(
                f"{self.name} is not an async task: called directly it would block this async flow",
                hint=f"await {self.name}.submit(...)",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """By name where the other side can import it, by value elsewhere: then cloudpickle takes the function along."""
        if _importable(self):
            return (_import_task, (self.fn.__module__, self.fn.__qualname__))
        return (
            _rebuild,
            (self.fn, self.name, self.retry, self.timeout, self.log_prints, self.resources, self.priority),
        )

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        raise UsageError(f"task {self.name} is a method", hint="make it a function, and pass the object as an argument")

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    retries: int = 0,
    retry_delay: RetryDelay = timedelta(0),
    retry_jitter: float = 0.0,
    retry_on: RetryOn | None = None,
    timeout: timedelta | None = None,
    log_prints: bool | None = None,
    resources: Mapping[str, float] | None = None,
    priority: int = 0,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retries: int = 0,
    retry_delay: RetryDelay = timedelta(0),
    retry_jitter: float = 0.0,
    retry_on: RetryOn | None = None,
    timeout: timedelta | None = None,
    log_prints: bool | None = None,
    resources: Mapping[str, float] | None = None,
    priority: int = 0,
) -> Any:
    """Make a function a task.

    `retries`, `retry_delay`, `retry_jitter`, `retry_on`: see `RetryPolicy`. `timeout`: how long one attempt may take (a thread cannot
    be stopped: there the attempt fails, and the call goes on unseen). `log_prints`: prints become log lines; None: as the flow says.

    `resources` is what a call takes of its worker's, by their names, and `priority` goes before that of other calls, the higher first: on
    executors whose workers have resources (Dask's). Others begin calls in their order, as many as they have room for.
    """
    policy = RetryPolicy(retries, retry_delay, retry_jitter, retry_on)

    def make(function: Callable[..., Any]) -> Task[..., Any]:
        return Task(
            function, name=name, retry=policy, timeout=timeout, log_prints=log_prints, resources=resources,
            priority=priority,
        )  # fmt: skip

    return make(fn) if fn is not None else make


def _plain_counts(signature: inspect.Signature) -> range:
    """How many arguments fit without a look at their names; to bind them takes longer than all the rest of asking for a call."""
    parameters = signature.parameters.values()
    if any(each.kind not in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters):
        return range(0)
    return range(sum(each.default is each.empty for each in parameters), len(parameters) + 1)


def _checked(kind: str, name: str) -> str:
    if name.rpartition(".")[2].isdecimal() and "." in name:
        raise UsageError(f"{name!r} cannot be a {kind}", hint="a dot and a number name the elements of maps")
    return check_name(kind, name)


def _importable(subject: Task[..., Any]) -> bool:
    module = sys.modules.get(subject.fn.__module__)
    if module is None or module.__name__ == "__main__" or module.__name__ in _sent_by_value():
        return False
    found: Any = module
    for part in subject.fn.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is subject


def _sent_by_value() -> set[str]:
    """Modules that another process cannot import, as cloudpickle was told, if anyone has imported it."""
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else set()


def _import_task(module: str, qualname: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _rebuild(
    fn: Callable[..., Any],
    name: str,
    retry: RetryPolicy,
    timeout: timedelta | None,
    log_prints: bool | None,
    resources: Mapping[str, float] | None = None,  # what was sealed before there were any has none
    priority: int = 0,
) -> Task[..., Any]:
    return Task(
        fn, name=name, retry=retry, timeout=timeout, log_prints=log_prints, resources=resources, priority=priority
    )


async def _value_of(future: TaskFuture[Any]) -> Any:
    return await future
