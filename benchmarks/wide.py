"""`python -m benchmarks.wide HOME URL WIDTH`: one fan-out in a fresh runner, which then tells its seconds and its memory at the peak."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

import psutil

from benchmarks import flows
from benchmarks.stage import hired, open_home

_PEAK: Final = "VmHWM:"


def main() -> None:
    home, url, width = sys.argv[1:]
    with hired(open_home(Path(home)), url) as runner:
        seconds = runner.seconds(flows.fan_out, n=int(width))
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(os.getpid())}))


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had; where the system does not tell, what it has now."""
    if sys.platform == "linux":
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(_PEAK):
                return int(line.removeprefix(_PEAK).removesuffix("kB")) * 1024
    return psutil.Process(pid).memory_info().rss


if __name__ == "__main__":
    main()
