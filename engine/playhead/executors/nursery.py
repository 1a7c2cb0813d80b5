"""The nursery: a small, clean process that makes worker processes for its parent and tells how they end. Run as a script.

The parent has threads, locks and listening sockets; a fork of it would inherit them all. The nursery has one thread and
nothing open, so that it can fork in a millisecond, and as the one who reaps the workers it alone can kill one without ever
hitting a stranger that got the same process id. It lives as long as the executor, and takes the workers with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from types import FrameType, ModuleType

REQUEST = struct.Struct("!cI")  # what to do, and the number of the worker, chosen by the parent
MAKE = b"m"  # comes with three descriptors: the worker's calls and lifeline, and where to tell its end
KILL = b"k"

END = struct.Struct("!ii")  # process id, exit code; minus the signal if one killed it

# The parent's path must hold before the worker's first import.
_BOOT = "import sys; sys.path[:] = sys.argv[4:]; import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
WORKER = str(Path(__file__).with_name("worker.py"))


def main() -> None:
    """`nursery.py <requests fd> forkserver|spawn <module to have, or ''> <sys.path ...>`"""
    requests, method, module = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    sys.path[:] = sys.argv[4:]
    worker = _load_worker() if method == "forkserver" else None
    if worker is not None and module:
        with contextlib.suppress(Exception):  # the worker whose call needs it will say why it cannot be imported
            importlib.import_module(module)
    gc.freeze()  # a collection in a worker would write to, and so copy, every page that it shares with its siblings
    born = Nursery(socket.socket(fileno=requests), forks=worker is not None).run()
    if born is None:
        os._exit(0)  # the parent waits for our end, and nothing of ours needs a tidy one
    if worker is not None:  # a fork comes back here, with a clean stack: it is a worker now
        calls, lifeline = born
        worker.serve(socket.socket(fileno=calls), lifeline)


class Nursery:
    def __init__(self, requests: socket.socket, *, forks: bool) -> None:
        requests.set_inheritable(False)  # it was, to reach us
        self._requests = requests
        self._forks = forks
        self._numbers: dict[int, int] = {}  # process id -> number; only those that are not reaped
        self._tell_end: dict[int, int] = {}  # process id -> descriptor
        self._deaths, self._death_bell = os.pipe()
        for end in (self._deaths, self._death_bell):
            os.set_blocking(end, False)
        signal.signal(signal.SIGINT, _do_nothing)  # Ctrl-C reaches the whole group; the parent decides
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(self._death_bell, warn_on_full_buffer=False)

    def run(self) -> tuple[int, int] | None:
        """Serve until the parent closes its end; in a forked worker, the descriptors of its calls and its lifeline."""
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        poll.register(self._deaths, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._deaths in ready:
                self._reap()
            if self._requests.fileno() not in ready:
                continue
            request, fds, _, _ = socket.recv_fds(self._requests, REQUEST.size, 3)
            if not request:
                break
            what, number = REQUEST.unpack(request)
            if what == KILL:
                self._kill(number)
                continue
            born = self._make(number, *fds)
            if born is not None:
                return born
        for pid in self._numbers:  # the parent is gone, and may have left a worker that does not notice
            os.kill(pid, signal.SIGKILL)
        return None

    def _make(self, number: int, calls: int, lifeline: int, tell_end: int) -> tuple[int, int] | None:
        os.set_inheritable(tell_end, False)
        pid = os.fork() if self._forks else _spawn(calls, lifeline)
        if pid == 0:
            os.close(tell_end)
            self._shed()
            return calls, lifeline
        os.close(calls)
        os.close(lifeline)
        self._numbers[pid] = number
        self._tell_end[pid] = tell_end
        return None

    def _shed(self) -> None:
        """In a forked worker: keep nothing of the nursery's, nor of the siblings'."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._requests.close()
        for fd in (self._deaths, self._death_bell, *self._tell_end.values()):
            os.close(fd)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._deaths, 4096):
                pass
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                del self._numbers[pid]
                tell_end = self._tell_end.pop(pid)
                with contextlib.suppress(BrokenPipeError):  # the parent no longer cares
                    os.write(tell_end, END.pack(pid, os.waitstatus_to_exitcode(status)))
                os.close(tell_end)

    def _kill(self, number: int) -> None:
        for pid, its_number in self._numbers.items():
            if its_number == number:
                os.kill(pid, signal.SIGKILL)


def _spawn(calls: int, lifeline: int) -> int:
    """Start a fresh interpreter. It gets these two descriptors; all others close, as Python opens them so."""
    for fd in (calls, lifeline):
        os.set_inheritable(fd, True)
    command = [sys.executable, "-P", "-c", _BOOT, WORKER, str(calls), str(lifeline), *sys.path]
    return os.posix_spawn(sys.executable, command, os.environ)


def _load_worker() -> ModuleType:
    """The worker's module from its file: to import it by name would first import the packages around it."""
    spec = importlib.util.spec_from_file_location("playhead_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """A handler, and not SIG_IGN, which a worker would inherit."""


if __name__ == "__main__":
    main()
