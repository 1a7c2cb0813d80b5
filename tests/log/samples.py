"""Appends for tests."""

from __future__ import annotations

import itertools
from typing import Any

from playhead.core.names import Epoch, Micros, Seq, StreamName
from playhead.ports.store import Append, Expect, Expected, NewEvent

_IDS = itertools.count(1)


def new(
    stream: str = "default/run/a",
    count: int = 1,
    *,
    expected: Expected = Expect.ANY,
    append_id: str | None = None,
    data: dict[str, Any] | None = None,
    epoch: int | None = None,
) -> Append:
    return Append(
        stream=StreamName(stream),
        events=tuple(
            NewEvent(type="task.succeeded", schema=1, data=data if data is not None else {"key": f"extract.{index}"})
            for index in range(count)
        ),
        expected=expected,
        append_id=append_id if append_id is not None else f"append-{next(_IDS)}",
        actor="runner/1",
        recorded_at=Micros(1_700_000_000_000_000),
        epoch=None if epoch is None else Epoch(epoch),
        first_seq=None if epoch is None else Seq(0),
    )
