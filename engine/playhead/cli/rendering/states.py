"""The colour and the sign of each state, the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.text import Text

from playhead.core.state import TaskStatus

STYLES: Final = {
    "scheduled": "dim",
    "ready": "cyan",
    "claimed": "cyan",
    "submitted": "dim",
    "running": "blue",
    "retrying": "yellow",
    "cancelling": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
    "crashed": "bold red",
}


def styled(state: str) -> Text:
    return Text(state, style=STYLES[state])


def counts_line(counts: Mapping[str, int]) -> Text:
    """`1,502 succeeded · 2 running`, in the order of a task's life; `-` where there are none."""
    parts = [
        Text(f"{counts[status.value]:,} {status.value}", style=STYLES[status.value])
        for status in _SHOWN
        if counts.get(status.value)
    ]
    return Text(" · ").join(parts) if parts else Text("-", style="dim")


_SHOWN: Final = (
    TaskStatus.SUCCEEDED,
    TaskStatus.FAILED,
    TaskStatus.CANCELLED,
    TaskStatus.RUNNING,
    TaskStatus.RETRYING,
    TaskStatus.SUBMITTED,
)
