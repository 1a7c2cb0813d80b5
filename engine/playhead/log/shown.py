"""A store's URL as anybody may see it: in errors, in `--json`, on a server's screen. Owns what is left out; opens nothing."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"

_SECRET: Final = re.compile(r"((?:^|&)[^=&]*(?:pass|pwd|secret|token|key|credential)[^=&]*=)[^&]*", re.IGNORECASE)


def without_secrets(url: str) -> str:
    """The URL with `***` for its password, and for the value of each setting whose name sounds like a secret.

    Made for URLs that somebody mistyped, too: where it is not clear what the password is, more is left out than need be.
    """
    scheme, colon, rest = url.partition(":")
    place, question, settings = rest.partition("?")
    if "@" in scheme or "@" in settings:  # a password may hold any of the letters that this was cut at
        return f"{HIDDEN}:{HIDDEN}" if "@" in scheme else f"{scheme}:{HIDDEN}"
    shown = _SECRET.sub(rf"\1{HIDDEN}", settings)
    return f"{scheme}{colon}{_without_login(place)}{question}{shown}"


def _without_login(place: str) -> str:
    slashes = "//" if place.startswith("//") else ""
    login, at, where = place.removeprefix(slashes).rpartition("@")
    if not at or login.startswith("/"):  # a path may hold an @
        return place
    user, colon, _ = login.partition(":")
    if not slashes and not colon:  # what stands before the @ may be all password
        return f"{HIDDEN}@{where}"
    return f"{slashes}{user}{colon}{HIDDEN if colon else ''}@{where}"
