"""Who asks, as it was said before the command's name: the file of a token. Owns that word, and opens nothing."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Final

token_file: Final[ContextVar[Path | None]] = ContextVar("token_file", default=None)
