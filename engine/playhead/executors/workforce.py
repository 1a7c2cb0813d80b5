"""The parent's side of worker processes: starts the nursery, has workers made, and speaks with each. Knows no calls."""

from __future__ import annotations

import itertools
import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal

from playhead.executors.nursery import END, KILL, MAKE, REQUEST
from playhead.executors.worker import Frame, receive, send

StartMethod = Literal["forkserver", "spawn"]

START_SECONDS = 60.0  # for an interpreter and its imports on a machine that is busy; then the worker is given up
EXIT_SECONDS = 2.0  # for a worker that was asked to end, or that closed its socket, to be gone; then it is killed
NURSERY_EXIT_SECONDS = 10.0  # it has nothing to wait for; past this it hangs, and is killed

_NURSERY = str(Path(__file__).with_name("nursery.py"))


class WorkerDied(Exception):  # said within this package only, which makes it the public error
    """The process is gone. `exit_code` is minus the signal if one killed it; None if nobody saw it die."""

    def __init__(self, pid: int | None, exit_code: int | None) -> None:
        super().__init__(
            f"process {pid or 'unknown'} ended with exit code {'unknown' if exit_code is None else exit_code}"
        )
        self.pid = pid
        self.exit_code = exit_code


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
            self._nursery = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(fd,))
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
    """One worker process. Used by one thread; `kill` may come from any."""

    def __init__(self, workforce: Workforce, number: int, calls: socket.socket, lifeline: int, end: int) -> None:
        self._workforce = workforce
        self._number = number
        self._calls = calls
        self._lifeline = lifeline
        self._end = end
        self._poll = select.poll()
        self._poll.register(calls, select.POLLIN)
        self._poll.register(end, select.POLLIN)
        self.killed = False

    def wait_for_start(self) -> None:
        """WorkerDied: it ended, or had not started by START_SECONDS."""
        if not self._poll.poll(START_SECONDS * 1000):
            self.kill()
        answer = receive(self._calls)
        if answer is None:
            raise self._death()

    def lives(self) -> bool:
        """Whether nothing is known against it: an idle worker that died must not be charged to the next call."""
        return not self.killed and not self._poll.poll(0)

    def ask(self, request: Frame) -> Frame:
        """Send a call and wait for its answer, however long it takes. WorkerDied: there will be none."""
        try:
            send(self._calls, request)
            ready = {fd for fd, _ in self._poll.poll()}
            if self._calls.fileno() in ready:
                answer = receive(self._calls)
                if answer is not None:
                    return answer
        except (BrokenPipeError, ConnectionResetError):
            pass  # it died before it had read everything
        raise self._death()

    def kill(self) -> None:
        """Kill it at once."""
        self.killed = True
        self._workforce.kill(self._number)

    def dismiss(self) -> None:
        """Let it end, with what it registered for its exit, or kill it; it is gone afterwards. Call once, at the last."""
        self._calls.close()
        self._death()
        os.close(self._lifeline)
        os.close(self._end)

    def _death(self) -> WorkerDied:
        """How it ended, or will have to."""
        gone = select.poll()
        gone.register(self._end, select.POLLIN)
        if not gone.poll(EXIT_SECONDS * 1000):
            self.kill()
        told = os.read(self._end, END.size)
        if len(told) < END.size:
            return WorkerDied(None, None)
        pid, exit_code = END.unpack(told)
        return WorkerDied(pid, exit_code)
