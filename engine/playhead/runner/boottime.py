"""The clock that leases are counted on: it goes on while the machine sleeps, where the system has such a clock."""

from __future__ import annotations

import time


def boot_time() -> float:
    """Seconds since the machine started, sleep included (CLOCK_BOOTTIME); elsewhere the monotonic clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
