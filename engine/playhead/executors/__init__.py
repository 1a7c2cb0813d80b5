"""Executors: where the calls of a run are computed. This package exports their specs, and imports none that runs."""

from playhead.executors.specs import (
    AnyExecutor,
    DaskExecutor,
    DaskSecurity,
    Executor,
    LocalExecutor,
    ProcessExecutor,
    ThreadExecutor,
    parse_executor,
)

__all__ = [
    "AnyExecutor",
    "DaskExecutor",
    "DaskSecurity",
    "Executor",
    "LocalExecutor",
    "ProcessExecutor",
    "ThreadExecutor",
    "parse_executor",
]
