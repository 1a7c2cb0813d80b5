"""How long work tells how far it is. Owns the form of that; shows nothing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # positions done, and positions in all; called after each page


def unheard(done: int, whole: int) -> None:
    """For those who do not ask."""
