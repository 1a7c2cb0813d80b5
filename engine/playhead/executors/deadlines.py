"""Deadlines of running calls: one thread that ends those that run too long. Knows nothing of how a call is stopped."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import weakref

from playhead.executors.calls import Call

PRUNE_AT_LEAST = 1024  # entries; below this, those of calls that have ended are not worth looking for


class Deadlines:
    """A clock of its own, as the event loop of the calls may be blocked by one of them. The thread starts on first use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._entries: list[tuple[float, int, weakref.ref[Call]]] = []  # a heap; weak, as a result may be large
        self._numbers = itertools.count()  # so that two equal times never compare their calls
        self._prune_at = PRUNE_AT_LEAST
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, call: Call) -> None:
        """Let the call expire when its timeout has passed from now. A call without a timeout is left alone."""
        if call.timeout is None:
            return
        entry = (time.monotonic() + call.timeout.total_seconds(), next(self._numbers), weakref.ref(call))
        with self._changed:
            if len(self._entries) >= self._prune_at:
                self._prune()
            heapq.heappush(self._entries, entry)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name=f"{self._name}-deadlines", daemon=True)
                self._thread.start()
            if self._entries[0] is entry:
                self._changed.notify()

    def close(self) -> None:
        """End the thread. What is watched no longer expires."""
        with self._changed:
            self._closed = True
            self._entries.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._is_due()):
                    self._changed.wait(self._seconds_to_first())
                if self._closed:
                    return
                call = heapq.heappop(self._entries)[2]()
            if call is not None:
                call.expire()
            del call

    def _is_due(self) -> bool:
        return bool(self._entries) and self._entries[0][0] <= time.monotonic()

    def _seconds_to_first(self) -> float | None:
        if not self._entries:
            return None
        return min(max(self._entries[0][0] - time.monotonic(), 0.0), threading.TIMEOUT_MAX)

    def _prune(self) -> None:
        """Forget the calls that have ended. The next time is at twice what is left, so a call costs O(1) on average."""
        self._entries = [entry for entry in self._entries if (call := entry[2]()) is not None and not call.ended]
        heapq.heapify(self._entries)
        self._prune_at = max(PRUNE_AT_LEAST, 2 * len(self._entries))
