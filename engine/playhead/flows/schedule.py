"""Schedules as a flow's author writes them: `Cron` and `Every`. The arithmetic is in `playhead.core.schedules`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import ValidationError

from playhead.errors import BadSchedule

if TYPE_CHECKING:
    from playhead.core.events import Schedule


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields of cron, read in time zone `tz` (an IANA name). Times that a change to summer time skips run right after
    it; times that happen twice run once, as Debian's cron does."""

    expression: str
    tz: str = "UTC"

    def to_schedule(self) -> Schedule:
        from playhead.core.events import Schedule  # a module of tasks, imported by each worker, does without the events

        try:
            return Schedule(id=_id(f"cron\0{self.expression}\0{self.tz}"), cron=self.expression, tz=self.tz)
        except ValidationError:
            raise BadSchedule(
                f"{self.expression!r} in time zone {self.tz!r} is not a schedule",
                hint='five fields of cron and an IANA time zone: Cron("0 6 * * *", tz="Europe/Paris")',
            ) from None


@dataclass(frozen=True, slots=True)
class Every:
    """Every `interval` (whole seconds, at least one), counted from `anchor` (default 1970-01-01 UTC, so that all servers agree)."""

    interval: timedelta
    anchor: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def to_schedule(self) -> Schedule:
        from playhead.core.events import Schedule  # as above

        seconds = int(self.interval.total_seconds())
        if seconds < 1 or self.interval != timedelta(seconds=seconds):
            raise BadSchedule(f"an interval of {self.interval} is not a whole number of seconds, at least one")
        if self.anchor.tzinfo is None:
            raise BadSchedule("the anchor of Every needs a time zone", hint="datetime(..., tzinfo=UTC)")
        anchor = round(self.anchor.timestamp() * 1_000_000)
        return Schedule(id=_id(f"every\0{seconds}\0{anchor}"), every_seconds=seconds, anchor=anchor)


def _id(content: str) -> str:
    return sha256(content.encode()).hexdigest()[:32]
