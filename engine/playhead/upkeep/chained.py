"""The hash chain computed again, append by append, and over what was forgotten. Pure; reads nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from playhead.log.appends import encode
from playhead.log.chain import FIRST, digest, link
from playhead.log.kept import first_of
from playhead.log.ranges import Range
from playhead.ports.store import Kept


class Chain:
    """`link` is the newest; `begun_at` the position of the first event that it covers, None while there is none."""

    def __init__(self, forgotten: Iterable[Range]) -> None:
        self._forgotten = deque(forgotten)
        self.link = FIRST
        self.begun_at: int | None = None

    def add(self, kept: Kept) -> str | None:
        """The next append; what is wrong with it, if anything is."""
        first = first_of(kept)
        self._pass(first)
        if kept.link is None:
            if self.begun_at is None:
                return None  # it was appended by a version that made no links
            return "the append has no link, although appends before it have: it was added by another program, or its link removed"
        expected = link(self.link, digest(kept.append, encode(kept.append)), last=kept.last, version=kept.version)
        self.begun_at = first if self.begun_at is None else self.begun_at
        self.link = kept.link  # what comes behind is compared with what is there: one change is one finding
        if kept.link == expected:
            return None
        return "the append's link is not the one that its content, its place and the append before it make: one of them was changed"

    def end(self, head: int) -> None:
        """Nothing more comes up to the head."""
        self._pass(head + 1)

    def _pass(self, first: int) -> None:
        while self._forgotten and self._forgotten[0][1] < first:
            begin, _, last_link = self._forgotten.popleft()
            if last_link is not None:
                self.link = last_link
                self.begun_at = begin if self.begun_at is None else self.begun_at
