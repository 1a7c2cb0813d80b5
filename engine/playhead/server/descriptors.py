"""How many files this process may have open: for each connection one. Owns the process's limit; opens nothing."""

from __future__ import annotations

import resource
from typing import Final

MOST: Final = 16_384  # what a server asks for: more connections than it bears, and what it opens beside them
RESERVED: Final = 128  # the log, the read models, an agent's pipes, and whatever else is open beside connections


def ask_for_more() -> None:
    """Raise this process's soft limit, which is 1,024 on many systems, as far as is of use and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def room_for(connections: int) -> int:
    """So many connections, or as many as fit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - RESERVED))
