"""Failpoints: named boundaries at which a process can be made to die, stop, err or wait. Owns their table and what happens there.

    PLAYHEAD_FAILPOINTS="journal.synced=kill@3,log.committed=raise(ENOSPC)" playhead up

An armed boundary acts when this process comes to it for the n-th time (`@n`; the first, if it is not said), and never again in this
process. A runner's successor would die at the same place, and so on until the run has crashed: where PLAYHEAD_FAILPOINTS_ONCE names
a folder, a boundary acts once for all processes that share it, and leaves a file of its name there as proof that it was reached.

Off by default: then a boundary costs one look into an empty dictionary. It decides nothing, and no code may ask whether one is armed.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playhead.errors import UsageError

VARIABLE: Final = "PLAYHEAD_FAILPOINTS"
ONCE_VARIABLE: Final = "PLAYHEAD_FAILPOINTS_ONCE"
EXIT_CODE: Final = 86  # of `exit`: no code of ours or of the shell's

# Every boundary, by the process that comes to it, in the order in which one run does.
BOUNDARIES: Final[Mapping[str, Mapping[str, str]]] = {
    "server": {
        "log.committing": "a batch of appends is about to be written",
        "log.committed": "it is durable, and nobody has been told",
        "run.asked": "a run is in the log, and its client has not been told",
        "claim.granted": "a claim is in the log, and its agent has not been told",
        "start.acknowledged": "a start is in the log, and its runner has not been told",
        "report.acknowledged": "a report is in the log, and its runner has not been told",
        "death.acknowledged": "a runner's death is in the log, and its agent has not been told",
    },
    "agent": {
        "claim.asking": "a claim is about to be sent",
        "claim.answered": "the run is granted, and nothing is done about it",
        "order.made": "the ticket is verified, and no process is there",
        "runner.forked": "the runner's process is there, and no record of it",
        "runner.recorded": "the process is recorded, and has no order",
        "order.written": "the runner has its order",
        "death.seen": "the runner's end is proved, and not reported",
        "death.reported": "it is reported, and the runner's folder is there still",
    },
    "zygote": {
        "zygote.forked": "a runner was made, and the agent has not been told",
        "zygote.burying": "a runner has ended, and nothing is written of it",
    },
    "runner": {
        "runner.ordered": "the order is read, and nothing is opened",
        "start.asking": "the start is about to be asked for",
        "start.answered": "the lease is this runner's, and nothing is fenced",
        "runner.fenced": "an earlier journal is fenced, and not read",
        "runner.recalled": "the earlier journals are read, and nothing is adopted",
        "runner.adopted": "the adopted cut is durable, and no flow is loaded",
        "flow.loaded": "the flow is loaded, and not called",
        "journal.writing": "a batch of records is about to be written",
        "journal.synced": "it is durable, and the fence was not looked for",
        "journal.counted": "it counts, and whoever waits for it has been told",
        "blob.written": "a large result is durable, and its record is not written",
        "report.sending": "records are about to be reported",
        "report.answered": "the log has them, and the runner has been told",
        "outcome.recorded": "the flow's outcome is durable, and the log may not have it",
        "outcome.acknowledged": "the log has the run's end, and the runner is still there",
    },
}

_KNOWN: Final = frozenset(name for boundaries in BOUNDARIES.values() for name in boundaries)
_FORM: Final = re.compile(
    r"(?P<name>[a-z.]+)=(?P<action>[a-z]+)(?:\((?P<argument>[A-Z0-9.]+)\))?(?:@(?P<at>[1-9]\d*))?"
)


def reach(name: str) -> None:
    """This process is at the boundary: do there what it was armed with. `name` is one of BOUNDARIES."""
    if _armed:
        point = _armed.get(name)
        if point is not None:
            point.come()


@contextmanager
def armed(wanted: str, once: Path | None = None) -> Generator[None]:
    """As the environment would arm this process, for a block. UsageError: no such boundary or action."""
    points = _parsed(wanted, once)
    before = dict(_armed)
    _armed.update(points)
    try:
        yield
    finally:
        _armed.clear()
        _armed.update(before)


@dataclass(slots=True)
class _Point:
    name: str
    action: str
    argument: str
    left: int  # times that it is passed before it acts, this one included
    once: Path | None

    def come(self) -> None:
        self.left -= 1
        if self.left == 0 and self._is_first():
            self._act()

    def _is_first(self) -> bool:
        if self.once is None:
            return True
        try:
            os.close(os.open(self.once / self.name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        return True

    def _act(self) -> None:
        match self.action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "exit":
                os._exit(EXIT_CODE)
            case "delay":
                time.sleep(float(self.argument))
            case _:
                number: int = getattr(errno, self.argument)
                raise OSError(number, os.strerror(number), f"failpoint {self.name}")


def _parsed(wanted: str, once: Path | None) -> dict[str, _Point]:
    points: dict[str, _Point] = {}
    for text in filter(None, (part.strip() for part in wanted.split(","))):
        form = _FORM.fullmatch(text)
        if form is None or not _is_action(form["action"], form["argument"] or ""):
            raise UsageError(
                f"{VARIABLE}: {text!r} is no failpoint",
                hint="write BOUNDARY=ACTION or BOUNDARY=ACTION@N; actions are kill, stop, exit, delay(SECONDS) and raise(ERRNO)",
            )
        name = form["name"]
        if name not in _KNOWN:
            raise UsageError(
                f"{VARIABLE}: there is no boundary {name!r}", hint=f"there are {', '.join(sorted(_KNOWN))}"
            )
        points[name] = _Point(name, form["action"], form["argument"] or "", int(form["at"] or 1), once)
    return points


def _is_action(action: str, argument: str) -> bool:
    match action:
        case "kill" | "stop" | "exit":
            return not argument
        case "delay":
            return bool(re.fullmatch(r"\d+(?:\.\d+)?", argument))
        case "raise":
            return isinstance(getattr(errno, argument, None), int)
        case _:
            return False


def _from_environment() -> dict[str, _Point]:
    wanted, once = os.environ.get(VARIABLE, ""), os.environ.get(ONCE_VARIABLE)
    points = _parsed(wanted, Path(once) if once else None)
    if points:
        sys.stderr.write(f"playhead: failpoints are armed by {VARIABLE}: {wanted}\n")
    return points


_armed: Final[dict[str, _Point]] = _from_environment()
