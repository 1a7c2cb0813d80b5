"""The marker by which a runner's process is known in /proc: a variable of the environment that the *kernel* shows.

What a forked process puts into its environment is not seen there: /proc/<pid>/environ shows the bytes that the last exec left in
memory. So a zygote is executed with room for a marker, and a fork of it writes its own into that room.
"""

from __future__ import annotations

import ctypes
import os

from playhead.zygote.messages import MARKER, MARKER_ROOM


class Room:
    """Made in the zygote, of which each fork has a copy."""

    def __init__(self) -> None:
        assert os.environ[MARKER] == MARKER_ROOM, "a zygote is executed with room for a marker"
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        self._address: int = libc.getenv(MARKER.encode())

    def mark(self, value: str) -> None:
        """For the kernel, for this process, and for those that it starts."""
        assert len(value) <= len(MARKER_ROOM)
        ctypes.memmove(self._address, value.encode().ljust(len(MARKER_ROOM), b"\0"), len(MARKER_ROOM))
        os.environ[MARKER] = value
