"""An agent's hold on its zygote: starts the process, asks it for runners, lets go of it. Synchronous; its owner calls it from a thread.

A zygote that is let go of lives as long as its runners do, and ends by itself.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from playhead.errors import PlayheadError
from playhead.zygote.messages import (
    MARKER,
    MARKER_ROOM,
    MAX_BYTES,
    Forked,
    Launch,
    Message,
    Ready,
    Refused,
    from_packet,
    to_packet,
)

ZYGOTE: Final = (sys.executable, "-m", "playhead.zygote")

READY_SECONDS: Final = 20.0  # for its imports, on a machine that is very busy: a fresh interpreter would need the same
ANSWER_SECONDS: Final = 10.0  # for a fork, which takes milliseconds
LEAVE_SECONDS: Final = 2.0  # for one without runners to end

# Zygotes that were let go of and may still have runners: this process is their parent, and must take note of their end some day.
_let_go: Final[list[subprocess.Popen[bytes]]] = []


class ZygoteLost(PlayheadError):
    """The zygote makes no more runners: it has ended, does not answer, or is not fit to fork."""

    code = "zygote_lost"


def can_be() -> bool:
    """Whether this system has what a zygote needs."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an old kernel, or a container that does not allow it
        return False
    return True


class ZygoteProcess:
    """One zygote, started when this is made; `runner` waits until it is ready.

    `command` is started with `--agent-fd N`. `environment` is that of its runners, but for what each launch adds. `folder` is where
    it starts, and where what it prints goes: it must hold no modules. OSError: the process cannot be started.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self._ready = False
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, (folder / "zygote.stderr").open("wb") as errors:
                self._process = subprocess.Popen(
                    (*command, "--agent-fd", str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd=folder,
                    env={**environment, MARKER: MARKER_ROOM},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # a terminal's Ctrl-C is for the agent, which decides what becomes of its runners
                )
        except BaseException:
            self._socket.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def runner(self, launch: Launch, descriptors: Sequence[int]) -> Forked:
        """A process that waits for its order. ZygoteLost: this zygote made none, nor will. OSError: the system gave it none."""
        answer = self._ask(launch, descriptors)
        match answer:
            case Forked():
                return answer
            case Refused(spent=False, why=why):
                raise OSError(0, why)
            case Refused(why=why):
                raise ZygoteLost(why)
            case _:
                raise ZygoteLost("it answers what it was not asked")

    def let_go(self, *, runners_left: bool) -> None:
        """It makes no more runners. Where none is left it has ended on return; else it ends after the last."""
        self._socket.close()
        if not runners_left:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVE_SECONDS)
        _let_go[:] = [process for process in (*_let_go, self._process) if process.poll() is None]

    def _ask(self, launch: Launch, descriptors: Sequence[int]) -> Message:
        try:
            if not self._ready:
                self._socket.settimeout(READY_SECONDS)
                self._ready = isinstance(self._receive(), Ready)
            self._socket.settimeout(ANSWER_SECONDS)
            socket.send_fds(self._socket, [to_packet(launch)], descriptors)
            return self._receive()
        except TimeoutError:
            raise ZygoteLost("it does not answer") from None
        except (OSError, ValueError) as error:
            raise ZygoteLost(f"it cannot be spoken to: {error}") from error

    def _receive(self) -> Message:
        packet = self._socket.recv(MAX_BYTES)
        if not packet:
            raise ZygoteLost("it has ended")
        return from_packet(packet)
