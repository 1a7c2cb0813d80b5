"""A runner's process: the real `playhead.runner` from its order on, on the simulated library, disk and network. Owns what the process has
of its surroundings."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from playhead.errors import PlayheadError
from playhead.ports.storage import Storage
from playhead.runner import __main__ as runner
from playhead.runner.bootstrap import RunnerOrder
from playhead.runner.execution import Execution
from playhead.runner.outcome import Outcome
from tests.simulation.checkers import Checkers
from tests.simulation.disk import Disk
from tests.simulation.fibers import Killed, Process, current_fiber


def surrounded(disk: Disk, patch: pytest.MonkeyPatch, on_told: Callable[[Process, Outcome], None]) -> None:
    """Runners find this disk, and whatever they do to their process they do to the simulated one."""

    def open_storage(_url: str) -> Storage:
        return disk.seen_by(_process())

    def leave(_code: int) -> NoReturn:
        process = _process()
        process.die()
        raise Killed(process.name)

    def execute(execution: Execution, *args: Any) -> Outcome:
        outcome = real(execution, *args)
        on_told(_process(), outcome)
        return outcome

    real = Execution.execute
    patch.setattr(Execution, "execute", execute)
    patch.setattr(runner, "open_storage", open_storage)
    patch.setattr(runner, "os", SimpleNamespace(environ={}, _exit=leave))
    patch.setattr(runner, "sys", SimpleNamespace(stderr=io.StringIO(), version_info=sys.version_info))


def live(checkers: Checkers, process: Process, order: RunnerOrder) -> int:
    """All that the process does with its order, and its exit code."""
    try:
        code = runner._run(order)  # pyright: ignore[reportPrivateUsage]  # `serve` without the pipe
    except PlayheadError as error:
        checkers.on_error(process, error)
        return runner._exit_code(error)  # pyright: ignore[reportPrivateUsage]  # as above
    return code


def _process() -> Process:
    fiber = current_fiber()
    assert fiber is not None
    return fiber.process
