"""The specs of executors: frozen descriptions that a flow names and that are sealed with it. Imports no executor.

`open()` finds the code that runs under the entry point group `playhead.executors`, by the spec's kind. What an entry point
names is called with the spec and gives an async context manager of an `OpenExecutor`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from playhead.errors import UsageError
from playhead.installed import Group
from playhead.ports.executor import OpenExecutor, Persist

MAX_WORKERS: Final = 10_000  # more is a mistake in a number: each worker may be a thread
DEFAULT_THREADS_PER_CORE: Final = 4
DEFAULT_THREADS_MOST: Final = 32

Workers = Annotated[int, Field(ge=1, le=MAX_WORKERS)]
Opener = Callable[[Any], AbstractAsyncContextManager[OpenExecutor]]


class Executor(BaseModel, frozen=True, extra="forbid"):
    """What every spec extends, other people's too: `kind` is the name of the entry point that opens it, and the rest its settings.

    It is sealed with its flow: its class must be importable wherever the flow runs.
    """

    kind: str

    def open(self) -> AbstractAsyncContextManager[OpenExecutor]:
        """Start the executor: `async with spec.open() as executor: await executor.submit(fn, 1)`.

        UsageError: the code that runs this kind is not installed, does not load, or is that of several packages.
        """
        return _opener(self.kind)(self)


class LocalExecutor(Executor, frozen=True):
    """In the runner's process, one call at a time."""

    kind: Literal["local"] = "local"


class ThreadExecutor(Executor, frozen=True):
    """In threads of the runner's process; coroutine functions on one event loop of their own.

    `workers` is how many calls run at a time; by default four for each core, at most 32.
    """

    kind: Literal["thread"] = "thread"
    workers: Workers | None = None


class ProcessExecutor(Executor, frozen=True):
    """In worker processes of the same machine: a call that kills its worker ends nothing but itself.

    `workers` is how many calls run at a time; by default one for each core. `start_method` is how workers are made: forked
    from a clean process, which is fast and the default on Linux, or started as fresh interpreters, the default elsewhere.
    """

    kind: Literal["process"] = "process"
    workers: Workers | None = None
    start_method: Literal["forkserver", "spawn"] | None = None


class DaskSecurity(BaseModel, frozen=True, extra="forbid"):
    """TLS towards a Dask scheduler: paths of PEM files on the runner's machine. The key may be in the certificate's file."""

    ca_file: str
    client_cert: str
    client_key: str | None = None


_COUNTS: Final = ("workers", "threads_per_worker")  # that only the default kind of temporary cluster is made with


class DaskExecutor(Executor, frozen=True):
    """On a Dask cluster: the one at `address`, or a temporary one that opens and closes with the flow run.

    A temporary cluster is of `workers` processes on the runner's machine, by default one for each core, with `threads_per_worker`
    calls at a time in each. Or it is what `cluster_class` ("module:Class", called with `cluster_kwargs` and asynchronous=True) makes;
    `adapt_kwargs` has either kind adapt its size. `resources` are what each call takes of a worker's, and `priority` goes before
    that of others on the same scheduler, the higher first. `connect_seconds` is for the scheduler to answer.

    `persist` says who writes large results down: the worker that computed one where it sees the run's storage ("auto"), or else the
    call fails ("worker"), or the runner, through which they pass then ("runner").

    `performance_report` has the run keep Dask's report of what the cluster did meanwhile, for `playhead report`. It takes bokeh where the
    scheduler runs: without it the executor does not open.
    """

    kind: Literal["dask"] = "dask"
    address: str | None = None
    workers: Workers | None = None
    threads_per_worker: Workers = 1
    cluster_class: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    cluster_kwargs: dict[str, Any] = Field(default_factory=dict)
    adapt_kwargs: dict[str, Any] | None = None
    security: DaskSecurity | None = None
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    priority: int = 0
    persist: Persist = "auto"
    performance_report: bool = False
    connect_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0

    @model_validator(mode="after")
    def _one_cluster(self) -> Self:
        """What shapes a temporary cluster says nothing about one that is there."""
        shapes = {
            "workers": self.workers is not None,
            "threads_per_worker": self.threads_per_worker != 1,
            "cluster_class": self.cluster_class is not None,
            "cluster_kwargs": bool(self.cluster_kwargs),
            "adapt_kwargs": self.adapt_kwargs is not None,
        }
        given = [name for name, is_given in shapes.items() if is_given]
        if self.address is not None and given:
            raise ValueError(f"address names a cluster that is there, so {', '.join(given)} would have no effect")
        if self.cluster_class is not None and (counts := [name for name in given if name in _COUNTS]):
            raise ValueError(f"with cluster_class, {', '.join(counts)} belong into cluster_kwargs, by its own names")
        return self

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a dict among the fields has no hash of its own


AnyExecutor = Annotated[
    LocalExecutor | ThreadExecutor | ProcessExecutor | DaskExecutor,
    Field(discriminator="kind"),
]


def parse_executor(spec: str | bytes | Mapping[str, Any]) -> AnyExecutor:
    """The spec from its JSON, or from what that parses to.

    UsageError: it is of no known kind, or its fields are not those of its kind.
    """
    try:
        if isinstance(spec, str | bytes):
            return _adapter().validate_json(spec)
        return _adapter().validate_python(dict(spec))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UsageError(
            f"not an executor{f' ({where})' if where else ''}: {problem['msg']}",
            hint=f"the kinds of executor are: {', '.join(KINDS)}",
        ) from error


def default_threads() -> int:
    """How many threads a thread executor has that was told nothing."""
    return min(DEFAULT_THREADS_MOST, DEFAULT_THREADS_PER_CORE * usable_cores())


def usable_cores() -> int:
    """The cores that this process may use; a container or taskset may leave it fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


KINDS: Final = ("local", "thread", "process", "dask")  # those of our own
_INSTALLED: Final = Group(
    "playhead.executors",
    noun="executor",
    built_in={
        "local": "playhead.executors.local:open_spec",
        "thread": "playhead.executors.thread:open_spec",
        "process": "playhead.executors.process:open_spec",
    },
    extras=frozenset({"dask"}),
)


@cache
def _adapter() -> TypeAdapter[AnyExecutor]:
    return TypeAdapter(AnyExecutor)


@cache
def _opener(kind: str) -> Opener:
    """The function that opens executors of this kind."""
    opener: Opener = _INSTALLED.load(kind)
    return opener
