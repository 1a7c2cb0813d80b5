"""News of what other servers append: one connection that listens, beside those that work. Owns that it is made again when it is lost.

A notification is a hint, and may be late or missing; who needs certainty polls.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

from playhead.core.names import Position
from playhead.errors import LogError
from playhead.log import News
from playhead_adapters.stores.postgres.connections import Connection, answered_in_time, rows

BACKOFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)  # between tries to listen again; the last for ever
SILENCE_SECONDS: Final = 15.0  # then the connection is tried: a dead one says nothing, too

_POSITION: Final = re.compile(r"[0-9]{1,19}")


async def listen(connect: Callable[[], Awaitable[Connection]], channel: str, news: News) -> None:
    """Tell `news` how far the log has come, until this is cancelled."""
    tries = 0
    while True:
        try:
            connection = await connect()
            try:
                await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
                tries = 0
                while True:
                    await _look(connection, news)  # what came before it listened, and whether it still answers
                    await _notified(connection, news)
            finally:
                await connection.close()
        except (psycopg.Error, LogError, TimeoutError):
            await asyncio.sleep(BACKOFF_SECONDS[min(tries, len(BACKOFF_SECONDS) - 1)])
            tries += 1


async def _notified(connection: Connection, news: News) -> None:
    """Return when a notification tells what is not known yet, as our own do not, or after a long silence. What it tells is not believed:
    whoever may connect to the database may notify, and for a position that is not there the log would look without rest."""
    while True:
        told = [each.payload async for each in connection.notifies(timeout=SILENCE_SECONDS, stop_after=1)]
        if not told or not all(_POSITION.fullmatch(payload) and int(payload) <= news.head for payload in told):
            return


async def _look(connection: Connection, news: News) -> None:
    with answered_in_time(connection, SILENCE_SECONDS):
        ((head,),) = await rows(connection, "head")
    news.tell(Position(head))
