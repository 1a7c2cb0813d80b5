"""Parcels: which calls travel together as one Dask task. Knows how long calls took; sends nothing.

A Dask task costs the cluster about a millisecond, however little it does. So calls that are short and wait together share one. Until
it is known that they are short each travels alone, and so does what must be stopped or timed by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from playhead.executors.calls import Call
from playhead_adapters.executors.dask.worker import Request, needs_care

MAX_CALLS: Final = 64  # in a parcel: from here on the rest of the way costs more than Dask does
PARCEL_SECONDS: Final = 0.02  # that a parcel should take: a result must not wait long for the company it travels in
MAX_BYTES: Final = 1_000_000  # of requests in a parcel
LAST_NUMBER: Final = 10**15  # above all numbers of parcels, and so that all have as many digits
WEIGHT: Final = 0.1  # of the newest call in the average


class Placing(NamedTuple):
    """What a call takes of its worker's resources, and what it goes before."""

    resources: tuple[tuple[str, float], ...] = ()  # in the order of their names
    priority: int = 0

    @classmethod
    def of(cls, resources: Mapping[str, float], priority: int) -> Placing:
        return cls(tuple(sorted(resources.items())), priority)


class DaskCall(Call):
    """A call, and how it travels."""

    placing: Placing = Placing()
    number: int = -1  # the place in the order of all calls, once it was taken up
    request: Request | None = None  # kept from then until the call ends, as it may have to be sent again
    parcel: Parcel | None = None  # the one it was sent in last
    alone: bool = False  # it was in a parcel that was lost, and the next loss must name its culprit

    @property
    def bytes(self) -> int:
        return 0 if self.request is None else len(self.request.body)


class Parcel:
    """Calls on their way, under a key of Dask's that is never used twice: `executor` is nobody else's, and numbers grow."""

    def __init__(self, executor: str, number: int, calls: list[DaskCall]) -> None:
        self.key = (
            executor,
            LAST_NUMBER - number,
        )  # Dask begins what came together in the falling order of its keys, as strings
        self.calls = calls
        self.placing = calls[0].placing
        for call in calls:
            call.parcel = self

    @property
    def bytes(self) -> int:
        return sum(call.bytes for call in self.calls)

    @property
    def over(self) -> bool:
        """Nobody waits for any of it."""
        return all(call.ended for call in self.calls)


class Sizes:
    """How many calls go into a parcel."""

    def __init__(self) -> None:
        self._average: float | None = None  # seconds a call

    def note(self, seconds: float) -> None:
        """A call took so long."""
        self._average = seconds if self._average is None else self._average + WEIGHT * (seconds - self._average)

    def size(self, waiting: int, places: int) -> int:
        """How many, where so many calls wait, and so many parcels may be sent. The work is spread before it is packed."""
        return max(1, min(self.largest, -(-waiting // max(1, places))))

    @property
    def largest(self) -> int:
        """How many at most, so that the parcel takes no longer than it should."""
        if self._average is None:
            return 1
        return max(1, min(MAX_CALLS, int(PARCEL_SECONDS / max(self._average, 1e-6))))


def packed(waiting: deque[DaskCall], size: int, most: int) -> Iterator[list[DaskCall]]:
    """Take calls from the queue, in their order, for at most so many parcels."""
    while waiting and most > 0:
        calls: list[DaskCall] = []
        left = MAX_BYTES
        while waiting and len(calls) < size:
            call = waiting[0]
            if call.ended:
                waiting.popleft()
                continue
            solitary = call.alone or call.bytes > left or (call.request is not None and needs_care(call.request))
            if solitary and calls:
                break
            calls.append(waiting.popleft())
            left -= call.bytes
            if solitary:
                break
        if calls:
            most -= 1
            yield calls
