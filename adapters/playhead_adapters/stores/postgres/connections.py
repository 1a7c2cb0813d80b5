"""Connections to a log's server: each is looked at before it is used, and its session pinned. Owns what is refused at opening.

A connection is in autocommit: each statement is a transaction of its own, and none is ever left open.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from playhead.errors import LogUnusable
from playhead_adapters.stores.postgres import faults
from playhead_adapters.stores.postgres.address import Address
from playhead_adapters.stores.postgres.arrays import register
from playhead_adapters.stores.postgres.sql import named

Connection = psycopg.AsyncConnection[TupleRow]

STATEMENT_SECONDS: Final = 20.0  # for one statement on the server: a page or a batch takes milliseconds
LOCK_SECONDS: Final = 10.0  # for the log's head, which other servers hold for milliseconds
# For an answer; beyond the server's own limits, so that only what is lost or hangs meets it
CLIENT_SECONDS: Final = 30.0
PREPARE_AT_ONCE: Final = 0  # uses of a statement before it is prepared: ours are few, and all are used again
SESSION_SECONDS: Final = 10.0  # for three looks at sessions that are open
OLDEST_SERVER: Final = 130000  # the oldest that is still kept, and that has what the SQL uses


class Look(NamedTuple):
    """What `look` tells of a server and its session."""

    standby: bool
    server_version: int
    encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    read_only: str
    process: int


async def connect(address: Address) -> Connection:
    """An open connection that may be used for this log. LogUnusable: it cannot be reached, or must not be used.

    It prepares no statement until it is told to, by its `prepare_threshold`: a proxy's sessions are found out before.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(address.conninfo, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise faults.unusable(address, error) from error
    try:
        register(connection.adapters)
        look = await _look(connection)
        _check(address, look)
        await _pin(connection, address, look)
    except psycopg.Error as error:
        await connection.close()
        raise faults.unusable(address, error) from error
    except BaseException:
        await connection.close()
        raise
    return connection


async def check_sessions(address: Address, one: Connection, other: Connection) -> None:
    """LogUnusable: behind a proxy these two share sessions of the server, or change them from one transaction to the next. What is pinned
    in a session would then not hold, and nobody would hear a notification."""
    ((first, token),) = await rows(one, "session")
    try:
        async with asyncio.timeout(SESSION_SECONDS), other.transaction():
            ((second, _),) = await rows(other, "session")  # holds its session, and so the other's may be exchanged
            again = await rows(one, "session")
    except TimeoutError:  # there is one session for both
        raise faults.pooled(address) from None
    if second == first or again != [(first, token)]:
        raise faults.pooled(address)


@contextmanager
def answered_in_time(connection: Connection, seconds: float | None = None) -> Generator[None]:
    """What is asked of the connection inside ends in bounded time: then the connection is cut, and whoever waits for it learns that it
    is lost. To cancel the waiting would not do: psycopg then asks the server to give up, and waits for that as well."""
    timer = asyncio.get_running_loop().call_later(CLIENT_SECONDS if seconds is None else seconds, _cut, connection)
    try:
        yield
    finally:
        timer.cancel()


async def rows(connection: Connection, name: str, values: Mapping[str, Any] | None = None) -> list[TupleRow]:
    """All rows of a named statement, in binary."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(named()[name], values)
    return await cursor.fetchall()


async def run(connection: Connection, name: str, values: Mapping[str, Any] | None = None) -> int:
    """Run a named statement that returns nothing; how many rows it touched."""
    return (await connection.execute(named()[name], values)).rowcount


def _cut(connection: Connection) -> None:
    if not connection.closed:
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


async def _look(connection: Connection) -> Look:
    (row,) = await rows(connection, "look")
    return Look(*row)


async def _pin(connection: Connection, address: Address, look: Look) -> None:
    await rows(
        connection,
        "pin",
        {
            "schema": address.schema,
            "session": secrets.token_hex(8),
            "synchronous_commit": look.synchronous_commit,
            "statement_ms": str(int(STATEMENT_SECONDS * 1000)),
            "lock_ms": str(int(LOCK_SECONDS * 1000)),
            "idle_ms": str(int(LOCK_SECONDS * 1000)),
        },
    )


def _check(address: Address, look: Look) -> None:
    """LogUnusable: what this server acknowledges may be lost, or it cannot hold the log."""
    if look.server_version < OLDEST_SERVER:
        raise LogUnusable(
            f"the PostgreSQL at {address} is of version {look.server_version // 10000}, which is too old",
            hint=f"version {OLDEST_SERVER // 10000} or newer is needed",
        )
    if look.encoding != "UTF8":
        raise LogUnusable(
            f"the database of the log at {address} is encoded in {look.encoding}",
            hint="make one that can hold every name: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
        )
    for setting, value in (
        ("fsync", look.fsync),
        ("full_page_writes", look.full_page_writes),
        ("synchronous_commit", look.synchronous_commit),
    ):
        if value == "off":
            raise faults.not_durable(address, setting)
    if look.standby or look.read_only == "on":
        raise LogUnusable(
            f"the log at {address} is read-only: this server is a standby, or writes are turned off",
            hint="name the primary in the URL, or several hosts with target_session_attrs=read-write",
        )
