"""What the kernel tells of single processes in /proc: their fields and their threads. Linux only; imports nothing that is slow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

STATE_FIELD: Final = 3  # of /proc/<pid>/stat, counted from 1
SESSION_FIELD: Final = 6
STARTED_FIELD: Final = 22


def stat_field(pid: int, number: int) -> str | None:
    """A field of /proc/<pid>/stat, from the third on; None if there is no such process, or no such file system."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in brackets, and may itself hold blanks and brackets.
    return text.rpartition(")")[2].split()[number - 3]


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None where it cannot be known."""
    started = stat_field(pid, STARTED_FIELD)
    return int(started) if started is not None else None


def is_zombie(pid: int) -> bool:
    """Whether the process has ended and waits for its parent to take note."""
    return stat_field(pid, STATE_FIELD) == "Z"


def own_threads() -> int:
    """How many threads this process has, those that Python does not know of included."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 — asked before every fork
