"""Background work goes on when the log can be used again, and the server's log names what was behind, without its text (L8)."""

from __future__ import annotations

import asyncio
import errno
import sqlite3

import psycopg
import pytest

from playhead.errors import LogUnusable
from playhead.service.background import RETRY_SECONDS, persist
from playhead.testing.clock import VirtualClock


def busy() -> Exception:
    error = sqlite3.OperationalError("a secret")
    error.sqlite_errorname = "SQLITE_BUSY"
    return error


@pytest.mark.parametrize(
    ("cause", "named"),
    [
        (psycopg.errors.AdminShutdown("a secret"), "57P01"),
        (psycopg.OperationalError("a secret"), "of no known cause"),
        (busy(), "SQLITE_BUSY"),
        (OSError(errno.ENOSPC, "a secret"), "ENOSPC"),
        (None, "of no known cause"),
    ],
)
async def test_work_is_begun_again_and_the_fault_is_named(
    cause: Exception | None, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock, tries = VirtualClock(), 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise LogUnusable("the log cannot be used") from cause

    working = asyncio.ensure_future(persist(work, clock))
    await clock.advance(RETRY_SECONDS)
    await working
    assert tries == 2
    assert f"log_unusable: {named}; trying again" in caplog.text
    assert "a secret" not in caplog.text
