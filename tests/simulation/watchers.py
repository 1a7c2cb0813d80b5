"""Watchers: subscribers that follow the log with the real client, keep their cursor, die, and come back with it. Owns what each has got.

A watcher's list must be the log's events that fit its filter, each once and in order, whatever broke on the way (S3); and a cursor of
another log is refused (S13).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from playhead.client.http import HttpServer
from playhead.core import events as ev
from playhead.errors import CursorRefused, PlayheadError
from playhead.ports.server import EventFilter
from playhead.ports.store import Recorded
from tests.simulation import promises as ck
from tests.simulation.fibers import Process
from tests.simulation.server import URL

FILTERS: Final = (
    EventFilter(),
    EventFilter(streams=("default/run/",)),
    EventFilter(types=(ev.RunClaimed.TYPE, ev.RunLost.TYPE, ev.TaskSucceeded.TYPE)),
)
REFUSED_SECONDS: Final = 10.0  # in fine weather


@dataclass
class Watcher:
    """Its lives share `cursor` and `seen`, as one that keeps both in one file does. `log` is what has happened."""

    which: EventFilter
    log: Sequence[Recorded]
    fail: Callable[[str, str], None]
    cursor: str | None = None
    seen: list[Recorded] = field(default_factory=list[Recorded])
    _expected: list[Recorded] = field(default_factory=list[Recorded])
    _looked: int = 0

    async def follow(self, process: Process) -> None:
        async with HttpServer(URL) as api, api.events(cursor=self.cursor, which=self.which) as pages:
            async for page in pages:
                process.check_alive()
                for event in page.events:
                    self._take(event)
                self.cursor = page.cursor

    @property
    def level(self) -> bool:
        """Whether it has got all that there is."""
        self._look()
        return len(self.seen) == len(self._expected)

    def _take(self, event: Recorded) -> None:
        self._look()
        here = len(self.seen)
        self.seen.append(event)
        if here >= len(self._expected) or self._expected[here] != event:
            expected = self._expected[here] if here < len(self._expected) else None
            wanted = f"{expected.type} at {expected.position}" if expected is not None else "nothing"
            self.fail(ck.EACH_EVENT, f"a watcher got {event.type} at {event.position} where {wanted} is next")

    def _look(self) -> None:
        """What it is to have got by now."""
        which = self.which
        for event in self.log[self._looked :]:
            fits_type = not which.types or event.type in which.types
            if fits_type and (not which.streams or event.stream.startswith(which.streams)):
                self._expected.append(event)
        self._looked = len(self.log)


async def present_foreign_cursors(rng: random.Random, cursor: str, fail: Callable[[str, str], None]) -> None:
    """Cursors that this log never gave: each is refused. For fine weather only."""
    log_id, position, mark = cursor.split(":")
    foreign = rng.choice(
        (
            f"{log_id[::-1][:-1]}0:{position}:{mark}",  # of another log
            f"{log_id}:{int(position) + 10_000}:{mark}",  # from before a restore: beyond the log's end
            f"{log_id}:{position}:{'0' * 8 if mark != '0' * 8 else '1' * 8}",  # the same place in another history
        )
    )
    async with HttpServer(URL) as api:
        try:
            async with asyncio.timeout(REFUSED_SECONDS), api.events(cursor=foreign) as pages:
                async for _ in pages:
                    break
        except CursorRefused:
            return
        except PlayheadError as error:
            fail(ck.CURSORS, f"the cursor {foreign} was refused as {error!r}")
            return
        except TimeoutError:
            pass
    fail(ck.CURSORS, f"the cursor {foreign} was taken by a log that never gave it")
