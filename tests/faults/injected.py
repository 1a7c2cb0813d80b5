"""System calls of a running process that fail, or lie. Owns strace: attached for the length of a block, and gone after it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.means import need

FLUSHES: Final = "fsync,fdatasync"
ATTACH_SECONDS: Final = 60.0
DETACH_SECONDS: Final = 10.0


class Injection:
    """What strace has written: one line for each call that it looked at."""

    def __init__(self, written: Path) -> None:
        self._written = written

    @property
    def calls(self) -> list[str]:
        return self._written.read_text(errors="replace").splitlines()

    @property
    def met(self) -> int:
        """How many calls were tampered with."""
        return sum("(INJECTED)" in call for call in self.calls)


@contextmanager
def injected(pid: int, calls: str, outcome: str, *, path: Path | None = None, to: Path) -> Generator[Injection]:
    """While the block runs, these calls of the process and its threads (on that file only, if one is given) have that outcome:
    `error=EIO`, or `retval=0` for success without effect; `:when=1` for the first call of each thread. `to` is strace's output."""
    need("strace")
    only = ("-P", str(path)) if path is not None else ()
    command = ("strace", "-f", "-qq", "-y", "-o", str(to), "-p", str(pid), *only)
    tracer = subprocess.Popen((*command, "-e", f"trace={calls}", "-e", f"inject={calls}:{outcome}"))
    try:
        _wait_until_attached(pid, tracer)
        yield Injection(to)
    finally:
        _let_go(tracer)


def _let_go(tracer: subprocess.Popen[bytes]) -> None:
    """So that the process goes on as it was. Where it has just ended, strace may wait for its main thread's end, which comes only
    after strace has heard of the other threads' ends: only its own end ends that."""
    tracer.send_signal(signal.SIGINT)
    try:
        tracer.wait(DETACH_SECONDS)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait(DETACH_SECONDS)


def _wait_until_attached(pid: int, tracer: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + ATTACH_SECONDS
    while not all(_tracer_of(task) == tracer.pid for task in Path(f"/proc/{pid}/task").iterdir()):
        assert tracer.poll() is None, "strace has ended: may this user trace other processes?"
        assert time.monotonic() < end, "strace does not get hold of the process"
        time.sleep(0.01)


def _tracer_of(task: Path) -> int | None:
    try:
        lines = (task / "status").read_text().splitlines()
    except OSError:
        return None  # a thread that has ended meanwhile
    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid:"))
