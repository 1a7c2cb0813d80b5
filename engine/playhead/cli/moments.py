"""Moments and spans as people write and read them. Pure: what "now" is comes in as an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from playhead.errors import UsageError

_SPAN: Final = re.compile(r"^(\d{1,9})([smhdw])$")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def micros_since(text: str, now: datetime) -> int:
    """`2h` before now, or an ISO date or time (without a zone: this machine's), in microseconds since 1970. Raises UsageError."""
    back = _SPAN.match(text)
    try:
        if back is not None:
            return max(0, micros_of(now - timedelta(**{_UNITS[back[2]]: int(back[1])})))
        return max(0, micros_of(datetime.fromisoformat(text).astimezone(UTC)))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is neither a span nor a time",
            hint="a span is a number and one of s, m, h, d, w, such as 2h; a time is ISO 8601, such as 2026-03-01T12:00Z",
        ) from error


def seconds_in(text: str) -> int:
    """A span such as 90d, in seconds. Raises UsageError."""
    found = _SPAN.match(text)
    if found is None:
        raise UsageError(f"{text!r} is not a span", hint="a span is a number and one of s, m, h, d, w, such as 90d")
    return int(found[1]) * int(timedelta(**{_UNITS[found[2]]: 1}).total_seconds())


def micros_of(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def parse(iso: str | None) -> datetime | None:
    """A time as views write it."""
    return datetime.fromisoformat(iso) if iso else None


def ago(iso: str | None, now: datetime) -> str:
    """`3m ago`, or `in 5h`; `-` for no time."""
    moment = parse(iso)
    if moment is None:
        return "-"
    seconds = (now - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def took(started: str | None, ended: str | None, now: datetime) -> str:
    """How long from start to end, or until now; `-` if it has not started."""
    begin = parse(started)
    return span(((parse(ended) or now) - begin).total_seconds()) if begin else "-"


def span(seconds: float) -> str:
    """Two figures that matter: `42ms`, `3.1s`, `4m 05s`, `2h 10m`, `3d 4h`."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"


def after(micros: int) -> str:
    """A time relative to a beginning: `+0.012s`, `+83.500s`, `+2h 10m`."""
    seconds = micros / 1_000_000
    return f"{seconds:+.3f}s" if abs(seconds) < 3600 else f"+{span(seconds)}"
