"""A line: one worker as the switchboard sees it. Owns nothing but what is known of it; decides nothing.

It belongs to the switchboard's thread. While it has a carrier, its socket and its call are that thread's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from playhead.errors import InfrastructureLost
from playhead.executors.calls import Call
from playhead.executors.worker import Frame, send
from playhead.executors.workforce import Death, Worker


class Line:
    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.started = False
        self.heard = True  # its socket is polled
        self.call: Call | None = None
        self.carrier: threading.Thread | None = None
        self.death: Death | None = None

    def send(self, frame: Frame) -> None:
        """Send it, as quickly as the worker reads. If the worker is dead, that will be heard."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(self.worker.calls, frame)

    def guarded(self, work: Callable[[Line], None]) -> None:
        """Do the work. A fault of ours, or too little memory, costs the worker and the call, and leaves no call without an end."""
        try:
            work(self)
        except Exception as error:  # noqa: BLE001 — as above
            if self.call is not None:
                self.call.fail(InfrastructureLost(f"the executor could not compute {self.call.name}: {error!r}"))
            self.worker.kill()
