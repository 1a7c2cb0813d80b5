"""The machine: what figures depend on besides the code. Neither its name nor a path of it is told."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

MEASURED_WITH: Final = ("playhead", "aiohttp", "httptools", "orjson", "pydantic", "rpds-py", "uvicorn")


def machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in MEASURED_WITH},
    }


def cpu_seconds(process: psutil.Process) -> float:
    """What all its threads have used, ended ones included. Linux has a clock for that, to the nanosecond; others count ticks."""
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)  # as clock_getcpuclockid(3) makes it
    times = process.cpu_times()
    return times.user + times.system


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
