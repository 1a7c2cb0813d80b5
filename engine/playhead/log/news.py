"""That the head of a log has moved: what a backend's `wait_for_news` is made of. Lives on one event loop; holds no events."""

from __future__ import annotations

import anyio

from playhead.core.names import Position


class News:
    """The newest position known to be durable, and a way to wait for a newer one."""

    def __init__(self, head: Position) -> None:
        self._head = head
        self._moved = anyio.Event()

    @property
    def head(self) -> Position:
        return self._head

    def tell(self, head: Position) -> None:
        """The head is at least here now. Wakes everyone who waits for it; an older position changes nothing."""
        if head > self._head:
            self._head = head
            self._moved.set()
            self._moved = anyio.Event()

    async def wait(self, after: Position, timeout_seconds: float) -> None:
        """Return when the head is beyond `after`, or at the timeout."""
        with anyio.move_on_after(timeout_seconds):
            while self._head <= after:
                await self._moved.wait()
