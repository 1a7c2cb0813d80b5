"""Audiences: all who listen with one filter, and for each event those that it is for. Pure; hands nothing out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

from playhead.ports.server import EventFilter
from playhead.ports.store import Recorded

L = TypeVar("L")


class Audience(Generic[L]):
    """Made by `Audiences.join`."""

    def __init__(self, which: EventFilter) -> None:
        self.which = which
        self.prefixes = frozenset(which.streams)
        self.listeners: dict[L, None] = {}  # in the order in which they came
        self._types = frozenset(which.types)

    def wants(self, event: Recorded) -> bool:
        return self.wants_type(event) and (not self.prefixes or event.stream.startswith(self.which.streams))

    def wants_type(self, event: Recorded) -> bool:
        return not self._types or event.type in self._types


class Audiences(Generic[L]):
    """Found by the beginnings of their streams, so that a thousand who wait for a run each cost an event nothing but theirs."""

    def __init__(self) -> None:
        self._all: dict[EventFilter, Audience[L]] = {}
        self._of_every_stream: dict[EventFilter, Audience[L]] = {}
        self._by_prefix: dict[str, dict[EventFilter, Audience[L]]] = {}
        self._lengths: Counter[int] = Counter()  # of all prefixes: an event's stream is cut to each of them

    def join(self, listener: L, which: EventFilter) -> Audience[L]:
        audience = self._all.get(which) or self._admit(which)
        audience.listeners[listener] = None
        return audience

    def leave(self, listener: L, audience: Audience[L]) -> None:
        del audience.listeners[listener]
        if not audience.listeners:
            self._dismiss(audience)

    def listeners(self) -> Iterator[L]:
        for audience in self._all.values():
            yield from audience.listeners

    def of(self, event: Recorded) -> Iterator[Audience[L]]:
        """Each audience that the event is for, once."""
        for audience in self._of_every_stream.values():
            if audience.wants_type(event):
                yield audience
        for length in self._lengths:
            beginning = event.stream[:length]
            found = self._by_prefix.get(beginning)
            for audience in found.values() if found is not None else ():
                if audience.wants_type(event) and _is_first_fit(beginning, audience):
                    yield audience

    def _admit(self, which: EventFilter) -> Audience[L]:
        audience = self._all[which] = Audience[L](which)
        for prefix in audience.prefixes:
            self._by_prefix.setdefault(prefix, {})[which] = audience
            self._lengths[len(prefix)] += 1
        if not audience.prefixes:
            self._of_every_stream[which] = audience
        return audience

    def _dismiss(self, audience: Audience[L]) -> None:
        del self._all[audience.which]
        self._of_every_stream.pop(audience.which, None)
        for prefix in audience.prefixes:
            del self._by_prefix[prefix][audience.which]
            if not self._by_prefix[prefix]:
                del self._by_prefix[prefix]
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]

    def __len__(self) -> int:
        return len(self._all)


def _is_first_fit(beginning: str, audience: Audience[L]) -> bool:
    """Whether none of the audience's shorter prefixes fits, too."""
    others = audience.prefixes
    return len(others) == 1 or not any(other != beginning and beginning.startswith(other) for other in others)
