"""A program: `playhead` with these arguments, that is killed at the n-th call of one of the SQLite backend's methods.

    python -m tests.upkeep.dying restore before 2 store backup FILE --store URL

Owns that death alone. Pages are small here, so that a small log has many of them.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from playhead.cli import main
from playhead.log.sqlite import SqliteBackend
from playhead.upkeep import pages


def die_at(method: str, when: str, number: int) -> None:
    inner, calls = getattr(SqliteBackend, method), 0

    async def dying(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            _die()
        result = await inner(*given, **named)
        if calls == number:
            _die()
        return result

    setattr(SqliteBackend, method, dying)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived SIGKILL")


if __name__ == "__main__":
    _, method, when, number, *arguments = sys.argv
    pages.PAGE_APPENDS = 5  # type: ignore[misc]  # a constant, but for the tests
    die_at(method, when, int(number))
    sys.argv = ["playhead", *arguments]
    main()
