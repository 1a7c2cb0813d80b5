"""Web pages of other sites: what a browser sends on their behalf, and may change something here, is refused. Owns that check.

A browser tells the truth about the page that asks, in `Origin` and `Sec-Fetch-Site`. Programs send neither. What only reads is
answered to all: without CORS headers, of which this server sends none, a browser does not hand the answer to the page.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from playhead.errors import ServerRefused

_SAFE: Final = frozenset({"GET", "HEAD"})
_OUR_SITE: Final = frozenset({b"same-origin", b"none"})  # none: the user asked for it, and no page
_USUAL_PORT: Final = {b"http": b":80", b"https": b":443"}


def check_site(scope: Scope) -> None:
    """ServerRefused (403): a page that did not come from here asks for a change."""
    if scope["method"] in _SAFE:
        return
    host, origins = b"", list[bytes]()
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif name == b"origin":
            origins.append(value)
        elif name == b"sec-fetch-site" and value.lower() not in _OUR_SITE:
            raise _foreign()
    if any(not _is_ours(origin, host) for origin in origins):
        raise _foreign()


def _is_ours(origin: bytes, host: bytes) -> bool:
    """The scheme is not compared: behind a proxy that speaks TLS, the page's is another than ours."""
    scheme, separator, site = origin.lower().partition(b"://")
    usual = _USUAL_PORT.get(scheme)
    if not separator or not site or usual is None:  # `null`, for one, which is what a sandboxed page or a file has
        return False
    return site.removesuffix(usual) == host.lower().removesuffix(usual)


def _foreign() -> ServerRefused:
    return ServerRefused(
        "a web page of another site asked for this", code="foreign_origin", status=403, hint="ask without a browser"
    )
