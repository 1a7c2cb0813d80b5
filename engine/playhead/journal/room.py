"""Waiting for room: what a runner does while its storage is full. Owns how often it looks, for how long, and what it says.

A full disk is no reason to lose a run: its runner lives, holds its lease, and has in memory what it could not write. It goes on by
itself when somebody has made room. Whatever else is wrong with a storage is raised at once. DURABILITY.md section 1.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from playhead.errors import StorageFull

LOOK_SECONDS: Final = (
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
)  # pauses between tries; the last repeats: a person makes room, no program
MOST_SECONDS: Final = 24 * 3600.0  # until somebody must have looked; then the storage's error ends the runner

T = TypeVar("T")

_log = logging.getLogger("playhead.runner")


class Room:
    """Of one run. Thread safe.

    `still_wanted` is called before each look, and raises where the waiting has no sense any more: this runner's time is over.
    """

    def __init__(
        self,
        run: str,
        *,
        still_wanted: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        self._run = run
        self._still_wanted = still_wanted
        self._sleep = sleep
        self._most_seconds = most_seconds

    def insist(self, write: Callable[[], T]) -> T:
        """What `write` gives, once there is room for it. It must leave nothing behind when it raises StorageFull."""
        waited = 0.0
        looks = 0
        while True:
            try:
                done = write()
            except StorageFull as full:
                if waited >= self._most_seconds:
                    raise
                if not looks:
                    _log.warning("run %s waits for room: %s; %s", self._run, full.message, full.hint)
                self._still_wanted()
            else:
                if looks:
                    _log.warning("run %s goes on: there is room again, after %.0f s", self._run, waited)
                return done
            pause = LOOK_SECONDS[min(looks, len(LOOK_SECONDS) - 1)]
            self._sleep(pause)
            waited += pause
            looks += 1
