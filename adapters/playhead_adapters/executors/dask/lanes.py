"""Lanes: the calls that wait to be sent, by what they take of a worker and how urgent they are. Sends nothing.

Each lane has a window of its own of what may be under way. So calls for which no worker has what they take hold up no others.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Final

from playhead_adapters.executors.dask.parcels import DaskCall, Parcel, Placing

MOST_BESIDE: Final = 1_000  # calls that take something, taken over and above the backlog: their requests are in memory


class Lanes:
    """Calls in the order of their numbers, lane by lane. `usual`: of calls of which nothing else is said."""

    def __init__(self, usual: Placing) -> None:
        self._usual = usual
        self._waiting: dict[Placing, deque[DaskCall]] = {usual: deque()}
        self._beside: set[DaskCall] = set()  # calls of other lanes that have not ended; ends come in any thread

    def __iter__(self) -> Iterator[DaskCall]:
        for waiting in self._waiting.values():
            yield from waiting

    @property
    def beside(self) -> int:
        """How many calls are worth taking over and above the backlog, as they wait for something that others do not."""
        return min(len(self._beside), MOST_BESIDE)

    def add(self, call: DaskCall) -> None:
        if call.placing != self._usual:
            self._beside.add(call)
            call.add_done_callback(self._beside.discard)
        self._waiting.setdefault(call.placing, deque()).append(call)

    def put_back(self, calls: Iterable[DaskCall]) -> None:
        """Before all that waits, in the order of their numbers; those that have ended are left out."""
        for call in sorted(calls, key=lambda call: -call.number):
            if not call.ended:
                self._waiting.setdefault(call.placing, deque()).appendleft(call)

    def sendable(self, sent: Iterable[Parcel], window: int) -> list[tuple[Placing, deque[DaskCall], int]]:
        """The lanes of which something can be sent, and how many parcels of each, where so many may be under way in each."""
        under_way = Counter(parcel.placing for parcel in sent)
        return [
            (placing, waiting, window - under_way[placing])
            for placing, waiting in self._waiting.items()
            if waiting and under_way[placing] < window
        ]
