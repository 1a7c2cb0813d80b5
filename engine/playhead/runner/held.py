"""Large payloads that a worker has just written down, held in its memory for a moment: the next task often wants one, and on this worker.

Never the only copy: what is not here is read from storage. So it may be dropped at any time, and is, soon. Knows no storage.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

# Of a worker, at most: a small part of what one has, who deals in values as large as these
HELD_BYTES: Final = 256_000_000
HELD_SECONDS: Final = 10.0  # a task that waits for a result begins within that, or it can as well read it

_held: OrderedDict[str, bytes] = OrderedDict()
_lock = threading.Lock()


def hold(path: str, payload: bytes) -> None:
    """Keep it at hand for a while, in place of older ones."""
    if len(payload) > HELD_BYTES:
        return
    with _lock:
        _held[path] = payload
        while sum(map(len, _held.values())) > HELD_BYTES:
            _held.popitem(last=False)
    timer = threading.Timer(HELD_SECONDS, release, (path,))
    timer.daemon = True
    timer.start()


def taken(path: str) -> bytes | None:
    """The payload, if it is here. It is not any longer then: of many that want it the others read."""
    with _lock:
        return _held.pop(path, None)


def release(path: str) -> None:
    with _lock:
        _held.pop(path, None)


def release_all() -> None:
    with _lock:
        _held.clear()
