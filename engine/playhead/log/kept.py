"""What every backend that makes copies must agree on about an append as it is kept: where it begins, what can be forgotten, and behind
what it may be restored. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import UsageError
from playhead.log.ranges import Range
from playhead.ports.store import Kept


def first_of(kept: Kept) -> Position:
    """The position of its first event: within an append there are no gaps."""
    return Position(kept.last - len(kept.append.events) + 1)


def check_restore(has: LogId, head: Position, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[Range]) -> None:
    """UsageError unless all of this lies behind what the log has, which is nothing or the beginning of the same log."""
    firsts = [first_of(each) for each in kept] + [first for first, _, _ in forgotten]
    if head > 0 and (has != log_id or min(firsts, default=head + 1) <= head):
        raise UsageError(
            f"log {has}, which ends at position {head}, is not the beginning of what is to be restored",
            hint="restore into an empty log",
        )


def no_such_end(stream: StreamName, upto: Version) -> UsageError:
    return UsageError(f"no append of stream {stream} ends with version {upto}", hint="forget whole appends")
