"""What PostgreSQL's errors mean to the reader of a message: what is wrong with the log, and what to do. Repeats no values."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from playhead.errors import LogUnusable, OutcomeUnknown
from playhead_adapters.stores.postgres.address import Address

TRY_AGAIN: Final = (errors.SerializationFailure, errors.DeadlockDetected)  # nothing was written, and another try may


def unusable(address: Address, error: psycopg.Error) -> LogUnusable:
    """For an error after which it is known that nothing was written."""
    log = f"the log at {address}"
    match error.sqlstate:
        case "PH001":  # the PH are raised by our own functions
            return newer_format(address)
        case "PH003":
            return pooled(address)
        case "PH002":
            return not_durable(address, "fsync, full_page_writes or synchronous_commit")
        case "53100":
            return LogUnusable(
                f"{log} is full: no space is left on its server",
                hint="make room there; what was acknowledged is safe, and appends work again by themselves",
            )
        case "53300" | "57P03" | "53400":
            return LogUnusable(
                f"{log} takes no connection now ({_primary(error)})",
                hint="wait until the server is up, or raise max_connections: a Playhead server needs about six",
            )
        case "55P03" | "57014":
            return LogUnusable(
                f"{log} did not answer in time: another writer or a long transaction holds it",
                hint="look at pg_stat_activity and pg_locks on its server",
            )
        case "25006":
            return LogUnusable(
                f"{log} is read-only: this server is a standby, or writes are turned off",
                hint="name the primary in the URL, or several hosts with target_session_attrs=read-write",
            )
        case "28P01" | "28000":
            return LogUnusable(
                f"{log} does not let this user in ({_primary(error)})",
                hint="look at pg_hba.conf, at the user, and at the password file (PGPASSFILE)",
            )
        case "42501":
            return LogUnusable(
                f"this role lacks a right on {log}: {_primary(error)}",
                hint="docs/how-to/postgresql.md lists the rights that a server needs",
            )
        case "42P01" | "42883" | "3F000":
            return LogUnusable(
                f"{log} lacks a part of its schema ({_primary(error)})",
                hint="was the schema dropped? restore it from a backup",
            )
        case "26000":
            return pooled(address)
        case None:
            return unreachable(address, error)
        case state:
            return LogUnusable(
                f"{log} cannot be used: {_primary(error)} ({state})",
                hint="look at the server's own log; what was acknowledged is safe",
            )


def unreachable(address: Address, error: psycopg.Error) -> LogUnusable:
    first = str(error).strip().splitlines()
    return LogUnusable(
        f"the log at {address} cannot be reached: {first[0] if first else type(error).__name__}",
        hint="is PostgreSQL running there, and does it listen? work goes on by itself when it does",
    )


def unknown(address: Address) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the connection to the log at {address} was lost under a commit, which may have taken place",
        hint="append the same again under the same id",
    )


def lost(connection: psycopg.AsyncConnection[tuple[object, ...]], error: psycopg.Error) -> bool:
    """Whether this error ended the connection, so that the fate of what was under way is not known."""
    return (
        connection.closed
        or connection.broken
        or error.sqlstate is None
        or error.sqlstate[:2] == "08"
        or error.diag.severity_nonlocalized in {"FATAL", "PANIC"}
    )


def newer_format(address: Address) -> LogUnusable:
    return LogUnusable(
        f"the log at {address} is of a format that this version does not know",
        hint="upgrade Playhead here, as it was on the server that changed the log: pip install --upgrade 'playhead[postgres]'",
    )


def not_durable(address: Address, what: str) -> LogUnusable:
    return LogUnusable(
        f"the log at {address} would lose what it acknowledged: {what} is off on its server",
        hint="turn it on (ALTER SYSTEM SET ..., or ALTER ROLE/DATABASE ... RESET), then try again",
    )


def pooled(address: Address) -> LogUnusable:
    return LogUnusable(
        f"the log at {address} is behind a proxy that gives each transaction another session",
        hint="connect to PostgreSQL itself, or let the proxy pool by session (PgBouncer: pool_mode = session)",
    )


def _primary(error: psycopg.Error) -> str:
    """The message without detail and context: those may hold values."""
    return error.diag.message_primary or type(error).__name__
