"""The parent's side of worker processes: starts the nursery, has workers made, and tells how each ended. Knows no calls."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal, NamedTuple

from playhead.executors.nursery import END, KILL, MAKE, REQUEST
from playhead.settings import SECRET_VARIABLES

StartMethod = Literal["forkserver", "spawn"]

NURSERY_EXIT_SECONDS = 10.0  # it has nothing to wait for; past this it hangs, and is killed

_NURSERY = str(Path(__file__).with_name("nursery.py"))


class Death(NamedTuple):
    """How a process ended. `exit_code` is minus the signal if one killed it; both are None if nobody saw it die."""

    pid: int | None
    exit_code: int | None

    def __str__(self) -> str:
        code = "unknown" if self.exit_code is None else self.exit_code
        return f"process {self.pid or 'unknown'} ended with exit code {code}"


class Workforce:
    """The worker processes of one executor. May be used from several threads."""

    def __init__(self, start_method: StartMethod) -> None:
        self._start_method = start_method
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._nursery: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def hire(self, module: str = "") -> Worker:
        """A new worker process; it may still be starting. OSError: the system does not give one.

        The first to be hired may name a module that all will need: forked workers have it from the nursery, which imports it
        once. It must start no thread and open nothing when it is imported.
        """
        calls, its_calls = socket.socketpair()
        its_lifeline, lifeline = os.pipe()
        end, tell_end = os.pipe()
        number = next(self._numbers)
        try:
            self._request(MAKE, number, [its_calls.fileno(), its_lifeline, tell_end], module)
        finally:
            its_calls.close()
            os.close(its_lifeline)
            os.close(tell_end)
        return Worker(self, number, calls, lifeline, end)

    def kill(self, number: int) -> None:
        """Kill the worker of that number, if it lives."""
        self._request(KILL, number, [])

    def close(self) -> None:
        """End the nursery, and with it every worker. Waits for it."""
        with self._lock:
            self._end_nursery()

    def _request(self, what: bytes, number: int, fds: list[int], module: str = "") -> None:
        message = REQUEST.pack(what, number)
        with self._lock:
            if self._requests is not None:
                try:
                    socket.send_fds(self._requests, [message], fds)
                except BrokenPipeError:  # somebody killed the nursery, and its workers end with their lifelines
                    self._end_nursery()
                else:
                    return
            if what == MAKE:
                socket.send_fds(self._start_nursery(module), [message], fds)

    def _start_nursery(self, module: str) -> socket.socket:
        requests, its_requests = socket.socketpair()
        with its_requests:
            fd = its_requests.fileno()
            path = [str(entry) for entry in sys.path]  # programs do put Path objects there
            command = [sys.executable, "-P", _NURSERY, str(fd), self._start_method, module, *path]
            self._nursery = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(fd,), env=_environment())
        self._requests = requests
        return requests

    def _end_nursery(self) -> None:
        nursery, requests = self._nursery, self._requests
        self._nursery = self._requests = None
        if requests is not None:
            requests.close()
        if nursery is not None:
            try:
                nursery.wait(NURSERY_EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                nursery.kill()
                nursery.wait()


class Worker:
    """One worker process: `calls` is the socket to it, and `end` becomes readable when it is gone. Used by one thread; `kill` may
    come from any."""

    def __init__(self, workforce: Workforce, number: int, calls: socket.socket, lifeline: int, end: int) -> None:
        self._workforce = workforce
        self._number = number
        self._lifeline = lifeline
        self.calls = calls
        self.end = end
        self.killed = False

    def kill(self) -> None:
        """Kill it at once."""
        self.killed = True
        self._workforce.kill(self._number)

    def death(self) -> Death:
        """How it ended; waits until it has."""
        told = os.read(self.end, END.size)
        if len(told) < END.size:
            return Death(None, None)
        pid, exit_code = END.unpack(told)
        return Death(pid, exit_code)

    def close(self) -> None:
        """Let go of it. A process that still lives ends."""
        self.calls.close()
        os.close(self._lifeline)
        os.close(self.end)


def _environment() -> dict[str, str]:
    """This process's, without its owner's key and tokens: a program that runs its flow itself has them, and its workers need none."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
