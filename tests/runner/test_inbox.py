"""The inbox: nobody sleeps through an outcome that somebody waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from playhead.core.names import TaskKey
from playhead.runner.pump import Delivery, Inbox


class Awaited:
    key = TaskKey("load")
    awaited = True

    def deliver(self) -> None:
        pass


class Interrupted(deque[Delivery]):
    """A queue at whose first look another thread gets its turn, just after the look."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then: Callable[[], None] | None = then

    def __len__(self) -> int:
        seen = super().__len__()
        then, self._then = self._then, None
        if then is not None:
            then()
        return seen


def test_an_outcome_that_comes_as_the_loop_falls_asleep_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []
    inbox = Inbox(asked=lambda _: None, caught_up=lambda: None)
    monkeypatch.setattr(inbox, "_live", Interrupted(lambda: inbox.put(Awaited())))
    assert inbox.before_sleep(lambda: woken.append("woken"))  # it saw nothing
    inbox.wake()
    assert woken == ["woken"]
    assert inbox.deliver_one()
