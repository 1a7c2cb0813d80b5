"""A flow: a function whose tasks make a run. Owns its options and the ways to run it; the running itself is the runner's."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from playhead.core.names import check_name
from playhead.errors import BadParameter, MisusedCall, UsageError
from playhead.executors.specs import DaskExecutor, Executor, LocalExecutor, ProcessExecutor, ThreadExecutor
from playhead.flows.context import Session, session_or_none
from playhead.flows.run_config import DockerRun, KnownRunConfig, LocalRun, UniversalRun
from playhead.flows.schedule import Cron, Every

if TYPE_CHECKING:
    from playhead.client.client import Client
    from playhead.client.flow_run import FlowRun

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")

_EXECUTORS = (LocalExecutor, ThreadExecutor, ProcessExecutor, DaskExecutor)


class Flow(Generic[P, R_co]):
    """What `@flow` makes. Called, it runs here and now and gives its result; `.start(...)` has a server run it."""

    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        executor: Executor | None = None,
        run_config: KnownRunConfig | None = None,
        schedule: Cron | Every | None = None,
        log_prints: bool = False,
        hide_sizes: bool = False,
    ) -> None:
        if not callable(fn):
            raise UsageError(f"@flow needs a function, not {fn!r}")
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise UsageError(
                f"{fn.__qualname__} is a generator: a flow returns its value once", hint="return a list instead"
            )
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = check_name("flow", name or fn.__name__.strip("<>"))
        if not isinstance(executor, Executor):  # another package's is as good as ours
            _check_option(self.name, "executor", executor, _EXECUTORS)
        _check_option(self.name, "run_config", run_config, (UniversalRun, LocalRun, DockerRun))
        _check_option(self.name, "schedule", schedule, (Cron, Every))
        self.executor: Executor = executor or ThreadExecutor()
        check_name("kind of executor", self.executor.kind)
        self.run_config = run_config or UniversalRun()
        self.schedule = schedule
        self.log_prints = log_prints
        self.hide_sizes = hide_sizes
        self.is_async = inspect.iscoroutinefunction(fn)
        self.signature = inspect.signature(fn)
        _check_parameters(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        session = session_or_none()
        if session is not None:
            return cast("R_co", self._inline(session, args, kwargs))
        from playhead.embedded import call_embedded, run_embedded  # only a program that runs flows pays for the engine

        bound = self._checked(args, kwargs)
        result: Any = call_embedded(self, bound) if self.is_async else run_embedded(self, bound)
        return cast("R_co", result)  # for an async flow, the coroutine of it

    @overload
    def run(self: Flow[P, Coroutine[Any, Any, A]], *args: P.args, **kwargs: P.kwargs) -> A: ...
    @overload
    def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run here, block until the end, and give the result. Raises FlowRunFailed, FlowRunCancelled or FlowRunCrashed."""
        if session_or_none() is not None:
            raise MisusedCall(
                f"{self.name}.run() inside a flow", hint=f"call it: {self.name}(...); its tasks become part of this run"
            )
        from playhead.embedded import run_embedded

        return run_embedded(self, self._checked(args, kwargs))

    @overload
    async def start(
        self: Flow[P, Coroutine[Any, Any, A]],
        *,
        client: Client,
        parameters: Mapping[str, Any] | None = None,
        at: datetime | None = None,
        labels: frozenset[str] | set[str] | None = None,
        idempotency_key: str | None = None,
    ) -> FlowRun[A]: ...
    @overload
    async def start(
        self,
        *,
        client: Client,
        parameters: Mapping[str, Any] | None = None,
        at: datetime | None = None,
        labels: frozenset[str] | set[str] | None = None,
        idempotency_key: str | None = None,
    ) -> FlowRun[R_co]: ...
    async def start(
        self,
        *,
        client: Client,
        parameters: Mapping[str, Any] | None = None,
        at: datetime | None = None,
        labels: frozenset[str] | set[str] | None = None,
        idempotency_key: str | None = None,
    ) -> FlowRun[Any]:
        """Register this flow with the client's server and ask for a run, now or `at` a time; an agent runs it.

        `labels` replace the run config's. The same `idempotency_key` gives the same run, asked for once.
        """
        return await client.start(
            self, parameters=dict(parameters or {}), at=at, labels=labels, idempotency_key=idempotency_key
        )

    def bind(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The parameters by name, defaults filled in. Raises BadParameter that names what does not fit."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            names = ", ".join(self.signature.parameters) or "none"
            raise BadParameter(f"flow {self.name}: {error}", hint=f"its parameters: {names}") from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def _checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """As `bind`, for a run of its own: refused here is what a server's run would be refused for. The values stay the caller's."""
        from playhead.flows.parameters import check_parameters

        bound = self.bind(*args, **kwargs)
        check_parameters(self, bound)
        return bound

    def _inline(self, session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.is_async != session.is_async:
            here, there = ("async", "not async") if session.is_async else ("not async", "async")
            raise MisusedCall(
                f"flow {self.name} is {there}, and the flow that calls it is {here}", hint="make both of one kind"
            )
        self.bind(*args, **kwargs)
        if self.is_async:
            return _inline_async(self, session, args, kwargs)
        with session.subflow(self.name, is_async=False):
            return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Flow {self.name}>"


async def _inline_async(
    subflow: Flow[..., Any], session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    with session.subflow(subflow.name, is_async=True):
        return await subflow.fn(*args, **kwargs)


def _check_option(flow: str, name: str, value: object, kinds: tuple[type, ...]) -> None:
    """For authors without a type checker: `executor="thread"` would fail much later, where nobody thinks of it any more."""
    if value is not None and not isinstance(value, kinds):
        known = ", ".join(f"{kind.__name__}(...)" for kind in kinds)
        raise UsageError(f"flow {flow}: {name}={value!r} is none", hint=f"{name} is one of {known}")


def _check_parameters(subject: Flow[..., Any]) -> None:
    for parameter in subject.signature.parameters.values():
        check_name(f"parameter of flow {subject.name}", parameter.name)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise UsageError(
                f"flow {subject.name}: parameter {parameter} has no name of its own",
                hint="a run's parameters are given by name: replace *args and **kwargs by a list and a dict, and drop '/'",
            )


@overload
def flow(fn: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *,
    name: str | None = None,
    executor: Executor | None = None,
    run_config: KnownRunConfig | None = None,
    schedule: Cron | Every | None = None,
    log_prints: bool = False,
    hide_sizes: bool = False,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    executor: Executor | None = None,
    run_config: KnownRunConfig | None = None,
    schedule: Cron | Every | None = None,
    log_prints: bool = False,
    hide_sizes: bool = False,
) -> Any:
    """Make a function a flow.

    `executor`: what computes its tasks (threads by default). `run_config`: on what an agent runs it. `schedule`: when it runs by
    itself, once registered. `log_prints`: prints of the flow and its tasks become log lines. `hide_sizes`: the server does not
    even learn the size classes of results.
    """

    def make(function: Callable[..., Any]) -> Flow[..., Any]:
        return Flow(
            function,
            name=name,
            executor=executor,
            run_config=run_config,
            schedule=schedule,
            log_prints=log_prints,
            hide_sizes=hide_sizes,
        )

    return make(fn) if fn is not None else make
