"""The token that a user presents to a server: where it is given, and that nobody else may read it. Owns no connection.

A variable goes before a file. A token in a file is read again when a server refuses it, so that whoever replaces the file need not
start an agent anew. No error here shows a token, or a part of one.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playhead.core.tokens import MAX_TOKEN_LETTERS, Mistyped, Token
from playhead.errors import TrustError, UsageError
from playhead.settings import TOKEN_VARIABLE, Settings

_PRIVATE: Final = 0o600
PLAIN_SETTING: Final = "tokens_over_http"


class Credential:
    """A token to present, and how to get the one that stands in its place by now."""

    def __init__(self, token: Token, read: Callable[[], Token] | None = None) -> None:
        self._token = token
        self._read = read

    @property
    def header(self) -> str:
        """The value of `Authorization`."""
        return f"Bearer {self._token.text}"

    def renew(self) -> None:
        """Read the token again. Raises as the reading does, and keeps the one that it had."""
        if self._read is not None:
            self._token = self._read()


def credential_for(url: str, settings: Settings, *, env: Mapping[str, str] | None = None) -> Credential | None:
    """The token for the server at `url`; None where none is given. `env` None: this process's.

    A token belongs to the server that is named beside it: to another one it is not sent. UsageError: it would cross a network in
    plain text, or the file cannot be read. TrustError: it is no token, or others may read the file.
    """
    env = os.environ if env is None else env
    if settings.server_url is not None and settings.server_url.rstrip("/") != url.rstrip("/"):
        return None
    text = env.get(TOKEN_VARIABLE, "").strip()
    if text:
        credential = Credential(_parsed(text, TOKEN_VARIABLE))
    elif settings.token_file is not None:
        path = settings.token_file
        credential = Credential(read_token(path), lambda: read_token(path))
    else:
        return None
    if not settings.tokens_over_http and _is_plain(url):
        raise UsageError(
            f"a token would go to {url} in plain text, where everybody on the way can read it",
            hint="put a TLS proxy before the server and use https://, or, where the network itself is protected, "
            f"set PLAYHEAD_{PLAIN_SETTING.upper()}=true",
        )
    return credential


def read_token(path: Path) -> Token:
    """The token in a file of its own. TrustError: others than the owner may read it, or it holds no token. UsageError: no such file."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(2 * MAX_TOKEN_LETTERS)
    except OSError as error:
        raise UsageError(
            f"the token file {path} cannot be read: {error.strerror}", hint="name one with --token-file"
        ) from error
    if mode & 0o077:
        raise TrustError(
            f"others than its owner may use the token in {path} (mode {mode:04o}), so it is not used",
            hint=f"chmod 600 {path}; if somebody may have read it, revoke it and make another",
        )
    return _parsed(data.decode("ascii", "replace").strip(), str(path))


def write_token(path: Path, token: Token) -> None:
    """Into a new file that only this user can read. UsageError: there is one already, or it cannot be made."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"{token.text}\n")
    except OSError as error:
        raise UsageError(f"the token cannot be written to {path}: {error.strerror}", hint="name a new file") from error


def _parsed(text: str, origin: str) -> Token:
    try:
        return Token.parse(text)
    except ValueError as error:
        what = (
            "is not whole: letters are missing or changed" if isinstance(error, Mistyped) else "is none of Playhead's"
        )
        raise TrustError(f"the token in {origin} {what}", hint="copy it again, all of it") from None


def _is_plain(url: str) -> bool:
    """Whether what goes there crosses a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, without asking a name server."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
