"""Asking a server that may be away until it answers. Every request of an agent is idempotent by the ids that it carries."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from playhead.agent.pace import Pace
from playhead.errors import (
    LogUnusable,
    OutcomeUnknown,
    PlayheadError,
    Refused,
    ServerRefused,
    ServerUnreachable,
    Unauthenticated,
)

T = TypeVar("T")

AGAIN: Final = frozenset({"behind", "busy"})  # a read model that has not caught up, a stream that others write to
SERVER_FAULT: Final = 500  # HTTP statuses from here on are the server's own troubles

_log = logging.getLogger("playhead.agent")


def passing(error: PlayheadError) -> bool:
    """Whether the same request may well succeed later, with nothing changed on this side but, perhaps, the file of a token that has
    ended: the client reads it again."""
    if isinstance(error, Refused):
        return error.code in AGAIN
    if isinstance(error, ServerRefused):
        return error.status >= SERVER_FAULT
    if isinstance(error, Unauthenticated):
        return error.code == "token_ended"
    return isinstance(error, ServerUnreachable | LogUnusable | OutcomeUnknown)


async def persistently(request: Callable[[], Awaitable[T]], pace: Pace) -> T:
    """The answer. Asks again, ever more slowly, for as long as the server is away; only a cancellation ends that.

    Raises whatever the server refuses it for.
    """
    tries = 0
    while True:
        try:
            return await request()
        except PlayheadError as error:
            if not passing(error):
                raise
            tries += 1
            if tries == 1:
                _log.warning("%s; asking again until that has changed", error.message)
        await anyio.sleep(pace.retry(tries))
