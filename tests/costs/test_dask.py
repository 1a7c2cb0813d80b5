"""What a wide map costs on Dask: how many of its tasks, counted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("distributed") is None:
    if os.environ.get("CI") == "true":
        raise ModuleNotFoundError("dask is missing, and nothing may be skipped here: pip install 'playhead[dask]'")
    pytest.skip("dask is not installed: pip install 'playhead[dask]'", allow_module_level=True)

from playhead.executors import DaskExecutor
from playhead.testing.sample_calls import itself
from playhead_adapters.executors.dask.connection import Connection
from playhead_adapters.executors.dask.parcels import Parcel


@pytest.mark.real
async def test_a_thousand_small_calls_are_far_fewer_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send = Connection.send

    def counted(self: Connection, parcels: Sequence[Parcel], **how: Any) -> None:
        sent.extend(len(parcel.calls) for parcel in parcels)
        send(self, parcels, **how)

    monkeypatch.setattr(Connection, "send", counted)
    async with DaskExecutor(workers=2).open() as executor:
        assert await executor.submit(itself, -1) == -1  # now it is known how long such calls take
        assert await asyncio.gather(*[executor.submit(itself, n) for n in range(1_000)]) == list(range(1_000))
    assert sum(sent) == 1_001, "each call is sent once"
    assert len(sent) <= 200
