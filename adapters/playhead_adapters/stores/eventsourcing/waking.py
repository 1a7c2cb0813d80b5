"""Following a recorder's own subscription, for news of what other processes write. Owns its thread; tells positions, and no events.

The library's subscriptions block the thread that takes from them, and each has threads of its own that keep a program from ending
while it is open. Here all of that happens under one daemon thread, from which those others inherit that they are daemons too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from eventsourcing.persistence import ApplicationRecorder, Subscription

from playhead.core.names import Position
from playhead.errors import UsageError

SUBSCRIBE_SECONDS: Final = 30.0  # for the first subscription to come about
# Before the next one, when one has ended with an error; meanwhile the engine's poll finds what is new
RETRY_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0  # for the thread to end; a daemon that does not is left behind


class Waking:
    """Calls `tell`, in its own thread, with positions of what was written behind `after`."""

    def __init__(self, recorder: ApplicationRecorder, after: Position, tell: Callable[[Position], None]) -> None:
        self._recorder = recorder
        self._after = after
        self._tell = tell
        self._guard = threading.Lock()
        self._subscription: Subscription[Any] | None = None
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._refused: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="playhead-waking", daemon=True)

    def start(self) -> None:
        """Return when the first subscription is open. UsageError: the recorder has none."""
        self._thread.start()
        self._begun.wait(SUBSCRIBE_SECONDS)
        if self._refused is not None:
            self._thread.join(STOP_SECONDS)
            raise UsageError(
                f"this recorder cannot be subscribed to: {self._refused}",
                hint="leave SUBSCRIBE out of the URL: the log is looked at each second instead",
            ) from self._refused

    def stop(self) -> None:
        self._stopping.set()
        with self._guard:
            if self._subscription is not None:
                self._subscription.stop()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001 — whatever a driver raises: only the first one is anybody's business
                if not self._begun.is_set():
                    self._refused = error
                    self._begun.set()
                    return
            self._stopping.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        with self._recorder.subscribe(gt=self._after) as subscription:
            with self._guard:
                self._subscription = subscription
                if self._stopping.is_set():
                    return
            self._begun.set()
            try:
                for notification in subscription:
                    self._after = Position(notification.id)
                    self._tell(self._after)
            finally:
                with self._guard:
                    self._subscription = None
