"""The app's outermost layer: lets in who may, bounds what a request's body may hold and take, and keeps what nobody foresaw from
getting out.

A body is read whole before the app sees it. An exception that is not of our tree becomes an answer without its text, and a
line in the log with its class and place only: its text may hold what the request held.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping
from typing import Any, Final, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playhead.errors import PlayheadError, ServerError, ServerRefused
from playhead.server.answers import refusal
from playhead.server.sites import check_site

log = logging.getLogger("playhead.server")

MAX_BODY_BYTES: Final = 16 * 1024 * 1024  # a report of 2,000 events with hundreds of upstream keys each fits
# Read and thrown away, so that the sender reads our refusal and not a reset
MAX_DRAINED_BYTES: Final = 4 * MAX_BODY_BYTES
BODY_SECONDS: Final = 30.0  # for a whole body; 16 MB at 5 Mbit/s


class Boundary:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            check_site(scope)
            await scope["app"].state.door.enter(scope)
            receive = await _with_body(scope, receive)
            await self._app(scope, receive, watched)
        except _Gone:
            return None
        except Exception as error:  # noqa: BLE001 — the last place where anything can be kept from the log and the client
            if not isinstance(error, PlayheadError):
                log.error("%s", _described(error, scope))
            if began:
                raise _CutShort from None
            known = error if isinstance(error, PlayheadError) else _unforeseen()
            await refusal(known)(scope, receive, send)


class _Gone(Exception):
    """The client went away in mid-request."""


class _CutShort(Exception):
    """An answer broke off after it had begun; the server closes its connection, by which the client knows."""


async def _with_body(scope: Scope, receive: Receive) -> Receive:
    """A `receive` that hands the whole body over in one message. Raises ServerRefused where it is too large or too slow."""
    if not any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]):
        return receive
    try:
        async with asyncio.timeout(BODY_SECONDS):  # on the hot path: a third of what an anyio scope costs
            body = await _read(receive)
    except TimeoutError:
        raise ServerRefused(
            f"the request's body did not come within {BODY_SECONDS:g} s",
            code="too_slow",
            status=408,
            hint="send fewer events in one batch, or over a faster network",
        ) from None
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= MAX_DRAINED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        part = message.get("body", b"")
        size, more = size + len(part), message.get("more_body", False)
        if size <= MAX_BODY_BYTES:
            parts.append(part)
        else:
            parts.clear()
    if size > MAX_BODY_BYTES:
        raise ServerRefused(
            f"the request's body is larger than {MAX_BODY_BYTES} bytes",
            code="too_large",
            status=413,
            hint="send fewer events in one batch",
        )
    return b"".join(parts)


def _unforeseen() -> ServerError:
    return ServerRefused(
        "the server met an error that nobody foresaw",
        code="internal",
        status=500,
        hint="its log names the place; please report it",
    )


def _described(error: BaseException, scope: Mapping[str, Any]) -> str:
    """Class and place of an error; of a group, of its first one. Never its text."""
    first = _first(error)
    frames = traceback.extract_tb(first.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    where = getattr(scope.get("route"), "path", "no route")
    return f"{type(first).__qualname__} at {place} while answering {scope['method']} {where}"


def _first(error: BaseException) -> BaseException:
    return _first(cast("BaseExceptionGroup[BaseException]", error).exceptions[0]) if _is_group(error) else error


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)
