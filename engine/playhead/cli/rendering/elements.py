"""Which task runs are elements of a map. Pure; so that a map of a thousand calls can be shown as one line."""

from __future__ import annotations

from collections.abc import Container


def map_of(key: str, maps: Container[str]) -> str | None:
    """The key of the map that has this element, None for a call of its own."""
    base, dot, index = key.rpartition(".")
    return base if dot and index.isdecimal() and base in maps else None
