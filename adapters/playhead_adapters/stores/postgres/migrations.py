"""The log's schema, and how a log of an older format becomes one of this. Owns what this version knows of formats.

Changes are additive, and made while older servers work: what they call stays. A change that older servers cannot bear raises
`compatible`, and the functions that append, which look at it in every call, turn them away by a message.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

from playhead.core.names import LogId
from playhead.log import chain
from playhead_adapters.stores.postgres import faults
from playhead_adapters.stores.postgres.address import Address
from playhead_adapters.stores.postgres.connections import Connection, rows, run
from playhead_adapters.stores.postgres.sql import script


@dataclass(frozen=True, slots=True)
class Step:
    """What makes a format from the one before it. `compatible`: the oldest format whose servers may go on beside it."""

    script: bytes
    compatible: int


STEPS: Final = (Step(script("format_1.sql"), compatible=1),)
FORMAT: Final = len(STEPS)
TRIES: Final = 10  # to change a log that is at work


async def open_log(connection: Connection, address: Address, steps: tuple[Step, ...] = STEPS) -> LogId:
    """The id of the log; a new one is made where there is none, and an older one is brought to the newest of `steps`.

    LogUnusable: it is of a format that these steps do not reach, or this role may not make or change it.
    """
    try:
        meta = await _meta(connection, address)
        if int(meta.get("format", 0)) < len(steps):
            await _migrate_until_done(connection, address, steps)
            meta = await _meta(connection, address)
        ((compatible,),) = await rows(connection, "read_compatible")
    except psycopg.Error as error:
        raise faults.unusable(address, error) from error
    if compatible > len(steps):
        raise faults.newer_format(address)
    return LogId(meta["log_id"])


async def _meta(connection: Connection, address: Address) -> Mapping[str, str]:
    ((there,),) = await rows(connection, "find_table", {"schema": address.schema})
    return dict(await rows(connection, "read_meta")) if there else {}


async def _migrate_until_done(connection: Connection, address: Address, steps: tuple[Step, ...]) -> None:
    """Readers take the tables in another order than a change does: where they meet, one of them gives way, and tries again."""
    for _ in range(TRIES - 1):
        with suppress(*faults.TRY_AGAIN):
            await _migrate(connection, address, steps)
            return
    await _migrate(connection, address, steps)


async def _migrate(connection: Connection, address: Address, steps: tuple[Step, ...]) -> None:
    async with connection.transaction():
        await rows(connection, "lock_migrations", {"schema": address.schema})
        meta = await _meta(connection, address)
        done = int(meta.get("format", 0))
        ((there,),) = await rows(connection, "find_schema", {"schema": address.schema})
        if not there:
            await connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(address.schema)))
        if done:
            await run(connection, "lock_log")
        for step in steps[done:]:
            await connection.execute(step.script)  # several statements in one
        if done == 0:
            await _begin(connection)
        if done < len(steps):
            await run(connection, "set_meta", {"key": "format", "value": str(len(steps))})
            await run(connection, "set_compatible", {"compatible": max(step.compatible for step in steps)})


async def _begin(connection: Connection) -> None:
    """What a new log holds."""
    await run(connection, "begin_log", {"link": chain.FIRST, "compatible": 1})
    for key, value in (("log_id", secrets.token_hex(8)), ("created_at", str(time.time_ns() // 1000))):
        await run(connection, "set_meta", {"key": key, "value": value})
