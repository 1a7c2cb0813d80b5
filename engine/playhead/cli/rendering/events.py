"""Recorded events as lines: JSON for programs, one row for a person."""

from __future__ import annotations

from typing import Any, Final, cast

from rich.text import Text

from playhead.core.views import iso
from playhead.ports.store import Recorded

MAX_DETAIL: Final = 100  # letters of an event's fields in a row; --json has them all

_TYPE_STYLES: Final = {"failed": "red", "crashed": "red", "lost": "red", "retrying": "yellow", "succeeded": "green"}


def event_json(event: Recorded) -> dict[str, Any]:
    return {
        "position": event.position,
        "stream": event.stream,
        "version": event.version,
        "type": event.type,
        "schema": event.schema,
        "actor": event.actor,
        "epoch": event.epoch,
        "seq": event.seq,
        "recorded_at": iso(event.recorded_at),
        "data": dict(event.data),
    }


def event_line(event: Recorded, *, with_stream: bool) -> Text:
    """Version (or position and stream, in a list of all), time, who, what, and the fields in short."""
    place = f"{event.position:>7}  {_short(event.stream):<28}" if with_stream else f"{event.version:>5}"
    time = (iso(event.recorded_at) or "")[11:23]
    style = _TYPE_STYLES.get(event.type.rpartition(".")[2], "bold")
    return Text.assemble(
        (place, "dim"), "  ", time, "  ", f"{event.actor:<14}", "  ", (f"{event.type:<16}", style), "  ", _detail(event)
    )


def _detail(event: Recorded) -> str:
    shown = {name: value for name, value in event.data.items() if name not in _UNREAD}
    text = "  ".join(f"{name}={_value(name, value)}" for name, value in shown.items())
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


# Fields that say nothing to a person: keys of records, and what the line or the run's head has already.
_UNREAD: Final = frozenset({"mac", "at", "seal", "storage", "key_id", "grant", "claim", "run", "id"})

_MOMENTS: Final = frozenset({"scheduled_for", "retry_at", "due", "anchor"})


def _value(name: str, value: object) -> str:
    if name in _MOMENTS and isinstance(value, int):
        return iso(value) or ""
    return ",".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)


def _short(stream: str) -> str:
    namespace, _, rest = stream.partition("/")
    kind, _, name = rest.partition("/")
    return f"{kind}/{name[:12] if kind == 'run' else name}" if namespace == "default" else stream
