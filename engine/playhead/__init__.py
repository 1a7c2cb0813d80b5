"""Playhead: an event-sourced workflow engine. The names below are the public surface; everything else may move.

They are imported when they are first used, so that `import playhead` and `playhead --help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playhead.agent.local import LocalAgent
    from playhead.client.client import Client
    from playhead.client.flow_run import FlowRun
    from playhead.engine import Engine
    from playhead.errors import (
        FlowRunCancelled,
        FlowRunCrashed,
        FlowRunFailed,
        PlayheadError,
        TaskCancelled,
        TaskLost,
        TaskTimedOut,
        UpstreamFailed,
    )
    from playhead.executors.specs import DaskExecutor, LocalExecutor, ProcessExecutor, ThreadExecutor
    from playhead.flows.context import CurrentRun, current_run
    from playhead.flows.flow import Flow, flow
    from playhead.flows.future import TaskFuture, TaskFutures
    from playhead.flows.outside import now, random, scope, sleep, sleep_blocking, timeout, uuid4
    from playhead.flows.run_config import DockerRun, LocalRun, UniversalRun
    from playhead.flows.schedule import Cron, Every
    from playhead.flows.task import Task, task, unmapped
    from playhead.runner.capture import get_logger

__version__ = "0.1.0"

_HOMES = {
    "agent.local": ("LocalAgent",),
    "client.client": ("Client",),
    "client.flow_run": ("FlowRun",),
    "engine": ("Engine",),
    "errors": (
        "FlowRunCancelled", "FlowRunCrashed", "FlowRunFailed", "PlayheadError", "TaskCancelled", "TaskLost", "TaskTimedOut",
        "UpstreamFailed",
    ),
    "executors.specs": ("DaskExecutor", "LocalExecutor", "ProcessExecutor", "ThreadExecutor"),
    "flows.context": ("CurrentRun", "current_run"),
    "flows.flow": ("Flow", "flow"),
    "flows.future": ("TaskFuture", "TaskFutures"),
    "flows.outside": ("now", "random", "scope", "sleep", "sleep_blocking", "timeout", "uuid4"),
    "flows.run_config": ("DockerRun", "LocalRun", "UniversalRun"),
    "flows.schedule": ("Cron", "Every"),
    "flows.task": ("Task", "task", "unmapped"),
    "runner.capture": ("get_logger",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Client", "Cron", "CurrentRun", "DaskExecutor", "DockerRun", "Engine", "Every", "Flow", "FlowRun", "FlowRunCancelled", "FlowRunCrashed",
    "FlowRunFailed", "LocalAgent", "LocalExecutor", "LocalRun", "PlayheadError", "ProcessExecutor", "Task", "TaskCancelled",
    "TaskFuture", "TaskFutures", "TaskLost", "TaskTimedOut", "ThreadExecutor", "UniversalRun", "UpstreamFailed", "current_run",
    "flow", "get_logger", "now", "random", "scope", "sleep", "sleep_blocking", "task", "timeout", "unmapped", "uuid4",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'playhead' has no attribute {name!r}")
    value = getattr(import_module(f"playhead.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
