"""What a flow asks of the world outside itself, recorded, so that a replay and a successor see the same.

In a task, and outside of flows, these are the plain functions: only a flow's own code is run again.
"""

from __future__ import annotations

import asyncio
import random as _random
import time
import uuid
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta

from playhead.core.kinds import FactKind
from playhead.core.names import check_name
from playhead.flows.context import session_for, session_or_none


def now() -> datetime:
    """The time, with time zone UTC. In a flow: as it was when this place was first reached."""
    session = session_or_none()
    made = datetime.now(UTC)
    return session.fact(FactKind.NOW, lambda: made) if session else made


def random() -> float:
    """A random number in [0, 1). In a flow: the one that was drawn when this place was first reached."""
    session = session_or_none()
    return session.fact(FactKind.RANDOM, _random.random) if session else _random.random()


def uuid4() -> uuid.UUID:
    """A random UUID. In a flow: the one that was made when this place was first reached."""
    session = session_or_none()
    return session.fact(FactKind.UUID4, uuid.uuid4) if session else uuid.uuid4()


async def sleep(delay: timedelta) -> None:
    """Wait. In a flow the moment of waking is recorded: a successor sleeps only what is left of it."""
    session = session_or_none()
    await (session.sleep(delay) if session else asyncio.sleep(delay.total_seconds()))


def sleep_blocking(delay: timedelta) -> None:
    """`sleep` for flows that are not async."""
    session = session_or_none()
    if session is None:
        time.sleep(delay.total_seconds())
    else:
        session.sleep_blocking(delay)


def timeout(delay: timedelta) -> AbstractAsyncContextManager[object]:
    """An async block that raises TimeoutError when `delay` has passed. In a flow its firing is recorded, and delivered in order."""
    session = session_or_none()
    return session.timeout(delay) if session else asyncio.timeout(delay.total_seconds())


@contextmanager
def scope(name: str) -> Generator[None]:
    """Give the tasks that this block asks for a place of their own: keys `name/...`. Needed in callbacks and other threads.

    The server learns the name: never make it from data.
    """
    session = session_for("playhead.scope")
    with session.scope(check_name("scope", name)):
        yield
