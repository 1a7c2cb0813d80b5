"""The gate: what a listening server looks at before a request reaches the app, whichever way it takes there.

Owns the order of these checks. An app that is mounted in another has no gate: there, these things are the other's.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from playhead.errors import ServerRefused
from playhead.server.answers import refusal
from playhead.server.clients import client_of
from playhead.server.hosts import Hosts
from playhead.server.rates import RateLimits, Rates


class Gate:
    """`hosts` None: every request may come in, as through a unix socket, which no browser can reach."""

    def __init__(self, app: ASGIApp, hosts: Hosts | None, rates: RateLimits) -> None:
        self._app = app
        self._hosts = hosts
        self._rates = Rates(rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._hosts is not None:
                self._hosts.check(scope)
            client = client_of(scope)
            if client is not None:
                self._rates.take(client)
        except ServerRefused as error:
            await refusal(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
