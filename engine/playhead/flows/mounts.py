"""Mounts of containers, as people write them: `SOURCE:TARGET` or `SOURCE:TARGET:ro`. Owns their form; asks nobody whether they exist."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import isabs, normpath
from typing import Self

from playhead.errors import UsageError


@dataclass(frozen=True, slots=True)
class Mount:
    """`source`: an absolute path on the container's host, or the name of a volume. `target`: an absolute path in the container."""

    source: str
    target: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """UsageError: it is no mount. Paths are normalised, so that `..` leads nowhere unseen."""
        source, _, rest = text.partition(":")
        target, _, mode = rest.partition(":")
        if not source or not isabs(target) or mode not in ("", "ro", "rw") or ("/" in source and not isabs(source)):
            raise UsageError(
                f"{text!r} is no mount", hint="write SOURCE:TARGET or SOURCE:TARGET:ro, with absolute paths"
            )
        return cls(normpath(source), normpath(target), mode == "ro")

    @property
    def is_volume(self) -> bool:
        return not isabs(self.source)

    def __str__(self) -> str:
        return f"{self.source}:{self.target}{':ro' if self.read_only else ''}"
