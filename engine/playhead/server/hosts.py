"""The names under which a listening server is asked. Owns which `Host` is ours; knows nothing of routes.

A page of any site can have its own name resolved to this machine, and its browser then believes that our answers are the site's
(DNS rebinding). It cannot make the browser send another `Host` than that name: so a name that is not ours is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

from playhead.errors import ServerRefused, UsageError

MAX_KNOWN: Final = 256  # good pairs of `Host` and address that are remembered: the check costs a look-up then

_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?)\.?)(?::[0-9]{1,5})?")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*")


class Hosts:
    """Ours are loopback's names and addresses, the address that the request came in on, `own` and `names`.

    UsageError: one of `names` is not the name or address of a host.
    """

    def __init__(self, names: Iterable[str] = (), *, own: str = "") -> None:
        self._names = frozenset([*map(_checked, names), own.lower()])
        self._known: set[tuple[bytes, str]] = set()

    def check(self, scope: Scope) -> None:
        """ServerRefused: the request names no host (400), or one that is not ours (421)."""
        given = [value for name, value in scope["headers"] if name == b"host"]
        address: str = scope["server"][0]
        if len(given) == 1 and (given[0], address) in self._known:
            return
        name = _name_in(given[0]) if len(given) == 1 else None
        if name is None:
            raise ServerRefused(
                "the request does not say in one Host header which server it means",
                code="no_host",
                status=400,
                hint="send one `Host: NAME` or `Host: NAME:PORT`",
            )
        if not (name in self._names or is_loopback(name) or _same_address(name, address)):
            raise ServerRefused(
                "the request is for a host that this server does not answer for",
                code="foreign_host",
                status=421,
                hint="if it is a name of this server, start it with `--allowed-host NAME`, or set PLAYHEAD_ALLOWED_HOSTS",
            )
        if len(self._known) < MAX_KNOWN:
            self._known.add((given[0], address))


def _checked(name: str) -> str:
    plain = name.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")
    if not _NAME.fullmatch(plain):
        raise UsageError(
            f"{name!r} cannot be an allowed host",
            hint="give a host's name or address alone, as playhead.example.com, without http:// and without a port",
        )
    return plain


def _name_in(host: bytes) -> str | None:
    """The name or address in a `Host` header, in small letters and without its port; None where there is none."""
    found = _HOST.fullmatch(host.decode("latin-1").lower())
    return None if found is None else found[1] or found[2]


def is_loopback(name: str) -> bool:
    """Whether the name or address is this machine's own: `localhost` and what is under it never leaves it (RFC 6761, 6.3)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _same_address(name: str, address: str) -> bool:
    given = _address(name)
    return given is not None and given == _address(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # a link's own address ends with its interface
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
