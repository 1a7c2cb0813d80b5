"""A captured log line for a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from playhead.client.logs import LogLine

_STYLES: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "DEBUG": "dim"}


def log_line(line: LogLine) -> Text:
    """Time, level, which task (or the flow itself), and the message; further lines of it are indented."""
    message = line.message.rstrip().replace("\n", "\n    ")
    retried = f"#{line.attempt}" if line.attempt is not None and line.attempt > 1 else ""
    return Text.assemble(
        (_time(line.at), "dim"),
        "  ",
        (f"{line.level:<8}", _STYLES.get(line.level, "")),
        f"{(line.task or '/') + retried:<16}  ",
        message,
    )


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:12]
