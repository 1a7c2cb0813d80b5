"""Background work of the service: begun again while the log cannot be used, until it can (L8). Owns that loop; no work."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from playhead.errors import IllegalEvent, LogError, Refused, UnknownEvent
from playhead.ports.clock import Clock

RETRY_SECONDS: Final = 1.0  # between tries while the log cannot be used

_log = logging.getLogger(__name__)


async def persist(work: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Do the work, again after each error of the log; it ends when the log is closed."""
    while True:
        try:
            return await work()
        except (UnknownEvent, IllegalEvent):
            raise  # time does not help: the log needs another version of Playhead, or mending
        except (LogError, Refused) as error:
            _log.warning("%s: %s; trying again in %g s", error.code, _fault(error), RETRY_SECONDS)
            await clock.sleep(RETRY_SECONDS)


def _fault(error: BaseException) -> str:
    """The system's, SQLite's or PostgreSQL's own name of what is behind an error: a server's log holds no error's text."""
    cause: BaseException | None = error
    while cause is not None:
        for name in ("sqlite_errorname", "sqlstate"):
            if known := getattr(cause, name, None):
                return str(known)
        if isinstance(cause, OSError) and cause.errno is not None:
            return errno.errorcode.get(cause.errno, str(cause.errno))
        cause = cause.__cause__
    return "of no known cause"
