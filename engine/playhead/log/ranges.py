"""Ranges of positions whose events were forgotten, each with the link that the hash chain had at its end. Pure; owns no store."""

from __future__ import annotations

from collections.abc import Iterable

from playhead.core.names import Position

Range = tuple[
    Position, Position, bytes | None
]  # first and last position, both included; the link of the append that ended there


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same positions in as few ranges as there can be, in order. What is merged keeps the link at its end."""
    whole: list[Range] = []
    for first, last, link in sorted(ranges, key=lambda each: each[0]):
        if whole and whole[-1][1] + 1 == first:
            first = whole.pop()[0]
        whole.append((first, last, link))
    return whole
