"""URLs of places under test: `{tmp}` in one stands for a fresh temporary folder. Owns what is made from them; opens nothing."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

TMP: Final = "{tmp}"


@contextmanager
def in_fresh_folder(url: str) -> Generator[str]:
    """The URL with its `{tmp}` filled in, where it has one; the folder is gone afterwards."""
    if TMP not in url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="playhead-check-") as folder:
        yield url.replace(TMP, folder)


@contextmanager
def leading_nowhere(url: str) -> Generator[tuple[str, str] | None]:
    """A URL like this one that cannot be used, and what is wrong with it; None where none can be made.

    `{tmp}` becomes a file, where a folder should be; a host and port become those of this machine where nobody listens.
    """
    if TMP in url:
        with tempfile.TemporaryDirectory(prefix="playhead-check-") as folder:
            file = Path(folder) / "file"
            file.write_text("where a folder should be")
            yield url.replace(TMP, str(file)), "a store whose folder is a file"
    elif place := _place_of(url):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))  # held, so that nobody else takes it, and never listened on
            user, at, _ = place.rpartition("@")
            yield (
                url.replace(place, f"{user}{at}127.0.0.1:{silent.getsockname()[1]}", 1),
                "a store behind a closed port",
            )
    else:
        yield None


def _place_of(url: str) -> str | None:
    """User, host and port, where the URL has a host."""
    try:
        parts = urlsplit(url)
        return parts.netloc if parts.hostname else None
    except ValueError:
        return None
