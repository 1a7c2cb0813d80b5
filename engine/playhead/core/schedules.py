"""The arithmetic of schedules: which moment comes next. Pure; owns no timer, and does not know whether a moment was missed.

Cron means what it means to Debian's cron when clocks change: a job at a time that spring leaves out runs when the clock
has moved on, and one at a time that autumn gives twice runs the first time only. `cronsim` does that arithmetic.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from playhead.core.events import MAX_MOMENT, Schedule
from playhead.core.names import Micros
from playhead.errors import BadSchedule

CRON_FIELDS: Final = 5  # with six, cronsim counts seconds and gives up its care for clock changes
MICROS: Final = 1_000_000

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_CRON_HINT: Final = "five fields: minute hour day-of-month month day-of-week, such as '0 6 * * MON-FRI'"


def check_schedule(schedule: Schedule) -> None:
    """Raise BadSchedule unless the schedule can be followed: one kind of rule, a cron that parses and comes, a known zone."""
    if (schedule.cron is None) == (schedule.every_seconds is None):
        raise BadSchedule("a schedule has either a cron expression or a number of seconds")
    if schedule.cron is None and schedule.tz is not None:
        raise BadSchedule("a time zone belongs to a cron expression, not to 'every N seconds'")
    if schedule.cron is not None and schedule.anchor is not None:
        raise BadSchedule("an anchor belongs to 'every N seconds', not to a cron expression")
    due_after(schedule, Micros(0))


def due_after(schedule: Schedule, moment: Micros) -> Micros:
    """The first moment strictly after `moment` at which a run is due. Raises BadSchedule."""
    due = _due_after(schedule, moment)
    if due > MAX_MOMENT:
        raise BadSchedule("the schedule's next time lies beyond the year 9999")
    return due


def _due_after(schedule: Schedule, moment: Micros) -> Micros:
    if schedule.every_seconds is not None:
        period = schedule.every_seconds * MICROS
        anchor = schedule.anchor or 0
        return Micros(max(anchor, anchor + ((moment - anchor) // period + 1) * period))
    if schedule.cron is None:
        raise BadSchedule("a schedule has either a cron expression or a number of seconds")
    return _cron_after(schedule.cron, _zone(schedule.tz), moment)


def _cron_after(cron: str, zone: tzinfo, moment: Micros) -> Micros:
    if len(cron.split()) != CRON_FIELDS:
        raise BadSchedule(f"the cron expression {cron!r} has {len(cron.split())} fields, not 5", hint=_CRON_HINT)
    try:
        times = CronSim(cron, (_EPOCH + timedelta(microseconds=moment)).astimezone(zone))
        # In the hour that autumn repeats cronsim thinks of the first pass, so that its answer may lie behind us.
        return next(due for due in map(_micros, times) if due > moment)
    except CronSimError as error:
        raise BadSchedule(f"the cron expression {cron!r} does not parse: {error}", hint=_CRON_HINT) from error
    except (StopIteration, OverflowError) as error:
        raise BadSchedule(f"the cron expression {cron!r} names a time that never comes", hint=_CRON_HINT) from error


def _micros(due: datetime) -> Micros:
    return Micros((due.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1))


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSchedule(
            f"there is no time zone named {name!r}", hint="a name of the IANA database, such as 'Europe/Paris' or 'UTC'"
        ) from error
