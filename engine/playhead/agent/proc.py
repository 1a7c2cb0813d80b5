"""What the kernel knows of a process: whether it is the one that we mean, whether it has ended, and who belongs to it.

A process is named by its pid, its start time, and the boot and pid namespace in which both mean something: a pid alone may
belong to another process by now. All of this is Linux's; elsewhere a process that is not our own child cannot be told from
another, and nothing here pretends that it can.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import anyio

from playhead.zygote.kernel import SESSION_FIELD, start_time, stat_field

_PROC: Final = Path("/proc")
_BOOT_ID: Final = _PROC / "sys/kernel/random/boot_id"
_PID_NAMESPACE: Final = _PROC / "self/ns/pid"


@dataclass(frozen=True, slots=True)
class ProcessName:
    """One process, for as long as its machine runs. `started` (clock ticks since boot) and `place` are None where unknown."""

    pid: int
    started: int | None
    place: str | None

    @classmethod
    def of(cls, pid: int) -> ProcessName:
        """The name of a process that is certainly there: our own, or a child that was not reaped."""
        return cls.started_at(pid, start_time(pid))

    @classmethod
    def started_at(cls, pid: int, started: int | None) -> ProcessName:
        """The name of a process of this machine whose start time somebody knew while it was certainly there."""
        return cls(pid, started, _place())


class Gone:
    """The process has ended and its parent has taken note."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """Whether the process has ended cannot be known from here."""

    why: str


def look(process: ProcessName) -> int | Gone | CannotTell:
    """A pidfd of that very process, which is readable once it has ended; the caller closes it."""
    if process.started is None or process.place is None:
        return CannotTell("its start time was not known when it was launched")
    if process.place != _place():
        return CannotTell("it was launched on another machine, in another container, or before a reboot")
    if not hasattr(os, "pidfd_open"):
        return CannotTell("this system has no pidfd")
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return Gone()
    except OSError as error:
        return CannotTell(f"its pidfd cannot be opened: {error.strerror}")
    # The pidfd holds on to whoever has the pid now, so that what is read next is true for as long as it is open.
    if start_time(process.pid) == process.started:
        return pidfd
    os.close(pidfd)
    return Gone()


async def child_ended(pid: int) -> None:
    """Return when our child has ended; it is not reaped, so that its pid, and its group's id, stay its own."""
    if not hasattr(os, "pidfd_open"):
        await _child_ended_without_pidfd(pid)
        return
    pidfd = os.pidfd_open(pid)
    try:
        await anyio.wait_readable(pidfd)
    finally:
        os.close(pidfd)


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal all of a process group, if any of it is left. The caller knows that the group's id is not someone else's."""
    # macOS answers with a PermissionError for a group in which only an unreaped leader is left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_session(session: int, marker: str) -> None:
    """Kill what is left of a session whose leader is gone: its members that have `marker`, NAME=VALUE, in their environment.

    The marker tells them from a later session of the same number. Linux only; elsewhere nothing is found.
    """
    for pid in _pids():
        if stat_field(pid, SESSION_FIELD) != str(session):
            continue
        with suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if marker.encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)


async def _child_ended_without_pidfd(pid: int) -> None:
    """A thread of its own waits: a daemon, since it lives as long as the child, also when nobody waits any longer."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wait() -> None:
        with suppress(ChildProcessError):  # reaped already: it has ended
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, name=f"end of process {pid}", daemon=True).start()
    await ended.wait()


def _pids() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(path.name) for path in _PROC.iterdir() if path.name.isdigit())


@cache
def _place() -> str | None:
    """The boot and the pid namespace in which pids and start times mean something; None where that is not known.

    Neither changes while this process lives.
    """
    try:
        return f"{_BOOT_ID.read_text().strip()} {os.readlink(_PID_NAMESPACE)}"  # noqa: PTH115 — no file: a kernel's text
    except OSError:
        return None
