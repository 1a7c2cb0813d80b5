"""Bearer tokens: what their text is made of, what a server keeps of it, and the scopes. Pure; draws no secret and grants nothing.

A token's text is `playhead_token_NAME_BODY`, or `playhead_runner_RUN_BODY` for the runner of one run. The body is 32 random bytes and
three of a checksum over all before them, so that a token with a letter missing is known for that before anybody is asked. A fixed
beginning is what scanners for lost secrets look for: docs/decisions/0100-tokens-and-scopes.md has the pattern.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from playhead.core.names import NAME_PATTERN, RUN_ID_PATTERN

SECRET_BYTES: Final = 32
CHECKSUM_BYTES: Final = 3  # one mistyped token in 16 million is sent, and found unknown
BODY_LETTERS: Final = 56  # base32 of both, which comes out even: no padding, and one text for each token
MAX_TOKEN_LETTERS: Final = 160  # above the longest: what is longer is not looked at


class Scope(StrEnum):
    """What a token is for. What each may ask is the table of `playhead.server.access`."""

    VIEWER = "viewer"  # read
    CLIENT = "client"  # read, register flows, ask for runs and cancel them
    AGENT = "agent"  # follow, claim, tell of deaths
    RUNNER = "runner"  # one run and one epoch: start, beat, report, read its history
    ADMIN = "admin"  # all, and tokens


class Mistyped(ValueError):
    """A text that looks like a token, and is not whole."""


@dataclass(frozen=True, slots=True)
class Token:
    """`name` is the token's, or the run's id for a runner's. Only `text` shows the secret."""

    name: str
    secret: bytes = field(repr=False)
    of_runner: bool = False

    def __post_init__(self) -> None:
        assert len(self.secret) == SECRET_BYTES

    @property
    def text(self) -> str:
        """All of it, as it is presented and kept by its owner."""
        beginning = f"{_RUNNER if self.of_runner else _NAMED}{self.name}_"
        body = base64.b32encode(self.secret + _checksum(beginning, self.secret)).decode().lower()
        return beginning + body

    @property
    def digest(self) -> str:
        """What a server keeps of it."""
        return digest_of(self.text)

    @classmethod
    def parse(cls, text: str) -> Token:
        """The token of this text. Mistyped: it begins as one does, and letters are missing or changed. ValueError: it is none."""
        name, of_runner = claimed_name(text)
        beginning, body = text[:-BODY_LETTERS], text[-BODY_LETTERS:]
        try:
            data = base64.b32decode(body.upper()) if body == body.lower() else b""
        except binascii.Error:
            data = b""
        secret = data[:SECRET_BYTES]
        if len(secret) != SECRET_BYTES or data[SECRET_BYTES:] != _checksum(beginning, secret):
            raise Mistyped
        return cls(name, secret, of_runner)


def claimed_name(text: str) -> tuple[str, bool]:
    """Whose token the text claims to be, its body not looked at: the name or the run, and whether it is a runner's. Raises as `parse`."""
    found = _CLAIMED.fullmatch(text) if len(text) <= MAX_TOKEN_LETTERS else None
    if found is not None:
        return found[2] or found[1], found[2] is not None
    raise Mistyped if text.startswith((_NAMED, _RUNNER)) else ValueError


def digest_of(text: str) -> str:
    """SHA-256, hexadecimal. A slow hash is for what people think up; of 32 random bytes there is no dictionary."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(beginning: str, secret: bytes) -> bytes:
    return hashlib.sha256(b"playhead token checksum 1 " + beginning.encode() + secret).digest()[:CHECKSUM_BYTES]


_NAMED: Final = "playhead_token_"
_RUNNER: Final = "playhead_runner_"
_CLAIMED: Final = re.compile(  # of any letters in its body: `parse` looks at them
    rf"(?:{_NAMED}({NAME_PATTERN.strip('^$')})|{_RUNNER}({RUN_ID_PATTERN.strip('^$')}))_.{{{BODY_LETTERS}}}"
)
