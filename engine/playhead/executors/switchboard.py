"""The switchboard: one thread that gives calls to worker processes and hears their answers. Owns which worker computes what.

Calls begin in the order in which they were put in, and a worker has one at a time: one that waited inside a worker could neither be
withdrawn nor begin in its turn elsewhere. What is small is sent, heard and told in this one thread, so that a small call wakes no
other; what is large, and would keep the other workers waiting, is carried by a thread of its own.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

from playhead.errors import InfrastructureLost, MisusedCall
from playhead.executors import crossing
from playhead.executors.calls import Call
from playhead.executors.line import Line
from playhead.executors.worker import READY, SMALL_BYTES, Frame, receive_rest, whole
from playhead.executors.workforce import Death, Workforce

START_SECONDS: Final = 60.0  # for an interpreter and its imports on a machine that is busy; then the worker is given up
# For a worker that was asked to end, or that closed its socket, to be gone; then it is killed
EXIT_SECONDS: Final = 2.0


class Switchboard:
    """`on_begin` is called with each call whose worker now begins it."""

    def __init__(self, name: str, width: int, workforce: Workforce, on_begin: Callable[[Call], None]) -> None:
        self._name = name
        self._width = width
        self._workforce = workforce
        self._on_begin = on_begin
        self._lock = threading.Lock()  # guards the next seven; no foreign code runs under it
        self._waiting: deque[Call] = deque()
        self._serving: dict[Call, Line] = {}
        self._carried: list[Line] = []  # whose carriers are done
        self._thread: threading.Thread | None = None
        self._bell: tuple[int, int] | None = None  # a pipe: what is written there wakes the thread
        self._wakeful = False  # the thread sleeps, and a call that comes now would find a place
        self._closing = False
        self._gone: Future[None] = Future()
        self._gone.set_running_or_notify_cancel()  # nobody can cancel it
        self._poll = select.poll()
        self._lines: dict[int, Line] = {}  # by descriptor: two for each
        self._members: set[Line] = set()
        self._starting = 0
        self._may_hire = True  # not again before something has changed, once the system gave no worker
        self._idle: list[Line] = []
        self._kill_at: dict[Line, float] = {}  # for those that are to come or go, in monotonic seconds

    # --- from any thread --------------------------------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Have the call begin in its turn. MisusedCall: the switchboard is closed."""
        with self._lock:
            if self._closing:
                raise MisusedCall(
                    f"{call.name} was submitted to an executor that is closed",
                    hint="submit inside `async with spec.open() as executor:`",
                )
            if self._thread is None:
                self._start()
            self._waiting.append(call)
            if self._wakeful:
                self._ring()

    def stop(self, call: Call) -> None:
        """Kill the worker that computes the call, if one does. Its place is free when the process is gone."""
        with self._lock:
            line = self._serving.get(call)
            if line is not None:
                line.worker.kill()

    def close(self) -> Future[None]:
        """Cancel every call and let the workers go; the future is done when they are gone, and only the thread's last line is left."""
        with self._lock:
            self._closing = True
            calls = [*self._waiting, *self._serving]
            self._waiting.clear()
        for call in calls:
            call.cancel()
        with self._lock:
            if self._thread is not None:
                self._ring()
            elif not self._gone.done():
                self._gone.set_result(None)
        return self._gone

    def join(self) -> None:
        """Wait for the interpreter to let go of the thread; only when it is gone."""
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        """RuntimeError: the system gives no thread. The lock is held."""
        self._bell = os.pipe()
        for end in self._bell:
            os.set_blocking(end, False)
        self._poll.register(self._bell[0], select.POLLIN)
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _ring(self) -> None:
        """The lock is held."""
        self._wakeful = False
        if self._bell is not None:
            with contextlib.suppress(BlockingIOError):  # it is full of rings already
                os.write(self._bell[1], b".")

    # --- in the thread: giving ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_over():
                self._give()
                self._hire()
                news = self._poll.poll(self._patience_ms())
                self._wakeful = False  # who puts in a call from here on needs not ring
                for fd, _ in news:
                    self._attend(fd)
                self._kill_overdue()
        except BaseException as error:  # noqa: BLE001 — a fault of ours, and the calls tell of it
            self._abandon(error)
        finally:
            self._workforce.close()
            for line in self._members:  # none, unless we failed
                line.worker.close()
            with self._lock:
                assert self._bell is not None, "the thread was started"
                for end in self._bell:
                    os.close(end)
                self._bell = None
            self._gone.set_result(None)

    def _abandon(self, error: BaseException) -> None:
        """No call must be left without an end."""
        with self._lock:
            self._closing = True
            calls = [*self._waiting, *self._serving]
        for call in calls:
            call.fail(InfrastructureLost(f"the executor could not compute {call.name}: {error!r}"))

    def _is_over(self) -> bool:
        """When it closes it lets the workers go, and is over when they are gone."""
        with self._lock:
            if not self._closing:
                return False
        for line in self._members:
            if not line.started:
                line.worker.kill()
        while self._idle:
            line = self._idle[-1]
            self._no_longer_hear(line)
            line.worker.calls.close()  # which is how it is told to end
        return not self._members

    def _give(self) -> None:
        """Give waiting calls to idle workers."""
        while self._idle:
            with self._lock:
                if not self._waiting:
                    return
                call = self._waiting.popleft()
            if not call.ended:
                self._begin(call)

    def _begin(self, call: Call) -> None:
        request = crossing.request_of(call)
        if request is None:
            return
        line = self._idle[-1]
        with self._lock:
            withdrawn, closing = call.ended, self._closing
            if not withdrawn and not closing:
                self._serving[call] = line
        if withdrawn or closing:
            call.cancel()
            return
        self._idle.pop()
        line.call = call
        line.guarded(partial(self._ask, call=call, request=request))

    def _ask(self, line: Line, call: Call, request: Frame) -> None:
        self._on_begin(call)
        if len(request.body) <= SMALL_BYTES:
            line.send(request)  # its socket is empty, as it waits for us: this does not block
        else:
            self._carry(line, partial(Line.send, frame=request))

    def _hire(self) -> None:
        """Have workers made for the calls that still wait."""
        while self._may_hire and len(self._members) < self._width:
            with self._lock:
                if len(self._waiting) <= self._starting:
                    return
                call = self._waiting[0]
            try:
                worker = self._workforce.hire(crossing.shared_module(call.fn))
            except Exception as error:  # noqa: BLE001 — the system's or ours: a call must not be left without an end
                if self._members:  # the call will come to one of these
                    self._may_hire = False
                    return
                self._fail_first(str(error))
                continue
            line = Line(worker)
            self._members.add(line)
            self._starting += 1
            self._kill_at[line] = time.monotonic() + START_SECONDS
            for fd in (worker.calls.fileno(), worker.end):
                self._lines[fd] = line
                self._poll.register(fd, select.POLLIN)

    def _fail_first(self, why: str) -> None:
        """No worker started: that costs one call, so that where none can be started no call waits for ever."""
        with self._lock:
            call = self._waiting.popleft() if self._waiting else None
        if call is not None:
            call.fail(InfrastructureLost(f"no worker process could be started for {call.name}: {why}"))

    def _patience_ms(self) -> float | None:
        """How long to wait for news. A call that is put in from here on rings, if it finds a place."""
        with self._lock:
            room = self._may_hire and len(self._members) < self._width
            if self._waiting and (self._idle or (room and self._starting < len(self._waiting))):
                return 0.0
            self._wakeful = room or bool(self._idle)
        if not self._kill_at:
            return None
        return 1000 * max(0.0, min(self._kill_at.values()) - time.monotonic())

    # --- in the thread: hearing ---------------------------------------------------------------------------------------------

    def _attend(self, fd: int) -> None:
        line = self._lines.get(fd)
        if line is None:
            self._answer_bell(fd)
            return
        line.guarded(self._died if fd == line.worker.end else self._hear)

    def _answer_bell(self, fd: int) -> None:
        if self._bell is None or fd != self._bell[0]:
            return  # of a worker that was forgotten since
        os.read(fd, 4096)
        with self._lock:
            carried, self._carried = self._carried, []
        for line in carried:
            self._carried_out(line)

    def _hear(self, line: Line) -> None:
        try:
            first = line.worker.calls.recv(SMALL_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            first = b""
        frame = whole(first)
        if frame is not None:
            self._heard(line, frame)
        elif first:
            self._carry(line, partial(self._receive, first=first))
        else:
            self._no_longer_hear(line)

    def _heard(self, line: Line, frame: Frame) -> None:
        if frame.kind == READY:
            line.started = True
            self._starting -= 1
            del self._kill_at[line]
            self._rest(line)
            return
        call = self._freed(line)
        if self._rest(line):
            self._give()  # before this call's end is told: then its worker computes meanwhile
        crossing.end(call, frame)

    def _rest(self, line: Line) -> bool:
        """The worker is free. False if it gets no more calls, as it is dead or will be."""
        self._may_hire = True
        fit = line.death is None and not line.worker.killed
        if fit:
            self._idle.append(line)
        return fit

    def _freed(self, line: Line) -> Call:
        """The line's call, for which it will no longer be killed."""
        call, line.call = line.call, None
        assert call is not None, "a worker answers what it was asked"
        with self._lock:
            del self._serving[call]
        return call

    # --- in the thread: the end of workers ---------------------------------------------------------------------------------------

    def _no_longer_hear(self, line: Line) -> None:
        """Its socket has closed, on one side or the other: it will be gone soon, or is killed."""
        self._mute(line)
        if line in self._idle:
            self._idle.remove(line)
        self._kill_at[line] = time.monotonic() + EXIT_SECONDS

    def _mute(self, line: Line) -> None:
        if line.heard:
            line.heard = False
            fd = line.worker.calls.fileno()
            self._poll.unregister(fd)
            del self._lines[fd]

    def _died(self, line: Line) -> None:
        line.death = line.worker.death()
        self._poll.unregister(line.worker.end)
        del self._lines[line.worker.end]
        if line.heard:
            self._hear(line)  # what it still said
        if line.carrier is None:
            self._bury(line, line.death)
        else:
            line.worker.calls.shutdown(socket.SHUT_RDWR)  # a process that it left behind may hold the other end

    def _bury(self, line: Line, death: Death) -> None:
        self._mute(line)
        self._may_hire = True
        self._members.discard(line)
        self._kill_at.pop(line, None)
        if line in self._idle:
            self._idle.remove(line)
        line.worker.close()
        if line.call is not None:
            call = self._freed(line)
            call.fail(crossing.lost(call, death))
        elif not line.started:
            self._starting -= 1
            self._fail_first(str(death))

    def _kill_overdue(self) -> None:
        if self._kill_at:
            now = time.monotonic()
            for line in [line for line, moment in self._kill_at.items() if moment <= now]:
                del self._kill_at[line]
                line.worker.kill()

    # --- what is large --------------------------------------------------------------------------------------------------------------

    def _carry(self, line: Line, work: Callable[[Line], None]) -> None:
        """Do what takes long in a thread of its own; the line is heard again when it has ended."""

        def carry() -> None:
            line.guarded(work)
            with self._lock:
                self._carried.append(line)
                self._ring()

        self._mute(line)
        carrier = threading.Thread(target=carry, name=f"{self._name}-carrier", daemon=True)
        carrier.start()
        line.carrier = carrier

    def _receive(self, line: Line, first: bytes) -> None:
        """In the carrier: an answer, and the telling of it, which may write to a storage."""
        try:
            frame = receive_rest(line.worker.calls, first)
        except ConnectionResetError:
            return
        if frame is not None:
            crossing.end(self._freed(line), frame)

    def _carried_out(self, line: Line) -> None:
        assert line.carrier is not None, "it was carried"
        line.carrier.join()
        line.carrier = None
        if line.death is not None:
            self._bury(line, line.death)
        elif not line.worker.killed:  # else its end will come, and half a frame before it is not to be heard
            line.heard = True
            fd = line.worker.calls.fileno()
            self._lines[fd] = line
            self._poll.register(fd, select.POLLIN)
            if line.call is None:
                self._rest(line)
