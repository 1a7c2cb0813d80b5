"""Whom a request comes from, as the limits count: one client is one address elsewhere. Owns that word; counts nothing itself.

Whoever is on this machine can exhaust it in other ways than by asking, so what comes through a unix socket or loopback is not
counted: `None`. But a proxy on this machine speaks for many, and passes their tokens on: there a client is a token.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from starlette.types import Scope

IPV6_PREFIX: Final = 64  # bits: what one subscriber of a network is given, and can choose addresses from
MAX_REMEMBERED: Final = 4_096  # addresses, so that a request costs a look-up

Peer = tuple[str, int] | None  # as ASGI has it: None for a unix socket


def address_of(peer: Peer) -> str | None:
    """The address that counts for a connection; None where none does."""
    return None if peer is None else _counted(peer[0])


def client_of(scope: Scope) -> object | None:
    """Whose request this is; None if nobody counts it."""
    address = address_of(scope.get("client"))
    if address is not None:
        return address
    token = next((value for name, value in scope["headers"] if name == b"authorization"), None)
    return None if token is None else hash(token)  # of no use to whoever reads this memory


@lru_cache(MAX_REMEMBERED)
def _counted(host: str) -> str | None:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.ip_network((address, IPV6_PREFIX), strict=False)
            return None if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return None if address.is_loopback else str(address)
