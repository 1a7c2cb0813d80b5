"""A captured log line for a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

_STYLES: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "DEBUG": "dim"}


def log_line(line: Mapping[str, Any]) -> Text:
    """Time, level, which task (or the flow itself), and the message; further lines of it are indented."""
    level = str(line.get("level", ""))
    message = str(line.get("message", "")).rstrip().replace("\n", "\n    ")
    task = str(line.get("task") or "/")
    attempt = line.get("attempt") or 1
    who = f"{task}#{attempt}" if attempt != 1 else task
    return Text.assemble(
        (_time(line.get("at")), "dim"), "  ", (f"{level:<8}", _STYLES.get(level, "")), f"{who:<16}  ", message
    )


def _time(at: object) -> str:
    """`at` is microseconds since 1970."""
    if not isinstance(at, int | float):
        return " " * 12
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:12]
