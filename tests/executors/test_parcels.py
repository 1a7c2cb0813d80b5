"""Which calls share a Dask task, and who is charged with a worker's death: without a cluster."""

from __future__ import annotations

from collections import deque

import pytest

pytest.importorskip("distributed", reason="dask is not installed: pip install 'playhead[dask]'")

from playhead.executors import worker as wire
from playhead.executors.calls import Call
from playhead_adapters.executors.dask.cluster import Death
from playhead_adapters.executors.dask.losses import broken, charged, worker_lost
from playhead_adapters.executors.dask.parcels import MAX_BYTES, MAX_CALLS, DaskCall, Parcel, Sizes, packed
from playhead_adapters.executors.dask.worker import Request


class Owner:
    def stop(self, call: Call) -> None:
        """Nothing runs here."""


def _calls(*numbers: int, size: int = 10, kind: bytes = wire.CALL, timeout: float | None = None) -> list[DaskCall]:
    calls: list[DaskCall] = []
    for number in numbers:
        call = DaskCall(Owner(), print, (), {}, None)
        call.number = number
        call.request = Request(number, kind, bytes(size), timeout)
        calls.append(call)
    return calls


def _packed(calls: list[DaskCall], size: int, most: int = 100) -> list[list[int]]:
    return [[call.number for call in parcel] for parcel in packed(deque(calls), size, most)]


def test_a_call_travels_alone_until_it_is_known_how_long_calls_take() -> None:
    sizes = Sizes()
    assert sizes.size(1_000, 8) == 1
    sizes.note(0.000_01)
    assert sizes.size(1_000, 8) == MAX_CALLS
    assert sizes.size(16, 8) == 2, "the work is spread before it is packed"
    for _ in range(50):
        sizes.note(1.0)
    assert sizes.size(1_000, 8) == 1


def test_calls_are_packed_in_their_order_and_the_rest_stays() -> None:
    waiting = deque(_calls(*range(7)))
    assert [[call.number for call in parcel] for parcel in packed(waiting, 2, 3)] == [[0, 1], [2, 3], [4, 5]]
    assert [call.number for call in waiting] == [6]


def test_what_is_stopped_timed_or_large_travels_alone() -> None:
    assert _packed([*_calls(0), *_calls(1, kind=wire.COROUTINE), *_calls(2, 3)], 4) == [[0], [1], [2, 3]]
    assert _packed([*_calls(0), *_calls(1, timeout=5.0), *_calls(2, 3)], 4) == [[0], [1], [2, 3]]
    assert _packed([*_calls(0), *_calls(1, size=MAX_BYTES), *_calls(2, 3)], 4) == [[0], [1], [2, 3]]


def test_what_was_cancelled_is_not_packed() -> None:
    calls = _calls(0, 1, 2)
    calls[1].cancel()
    assert _packed(calls, 4) == [[0, 2]]


def test_the_first_in_order_is_charged_one_for_each_thread() -> None:
    parcels = [Parcel("e", number, _calls(number)) for number in (5, 3, 4)]
    assert [call.number for call in charged(parcels, 1)] == [3]
    assert [call.number for call in charged(parcels, 2)] == [3, 4]


def test_nobody_is_charged_of_a_parcel_of_several() -> None:
    assert charged([Parcel("e", 1, _calls(1, 2)), Parcel("e", 3, _calls(3))], 1) == []


def test_keys_fall_as_numbers_grow_also_as_strings() -> None:
    keys = [Parcel("e", number, _calls(number)).key for number in (1, 9, 10, 99_999, 10**9)]
    assert sorted(map(str, keys), reverse=True) == [str(key) for key in keys]


def test_a_death_says_how() -> None:
    (call,) = _calls(1)
    assert worker_lost(call, "tcp://w:1", Death(-9)).signal == 9
    assert "SIGKILL" in str(worker_lost(call, "tcp://w:1", Death(-9)))
    assert worker_lost(call, "tcp://w:1", Death(7)).exit_code == 7
    too_large = worker_lost(call, "tcp://w:1", Death(-15, memory_limit=4 * 10**9))
    assert (too_large.signal, too_large.memory_limit) == (15, 4 * 10**9)
    assert "memory limit of 4 GB" in str(too_large)
    assert "nobody saw how" in str(worker_lost(call, "tcp://w:1", None))


def test_a_worker_without_playhead_is_named() -> None:
    (call,) = _calls(1)
    error = broken(call, ModuleNotFoundError("No module named 'playhead_adapters'"))
    assert "cannot load what computes print: No module named 'playhead_adapters'" in str(error)
    assert "playhead[dask]" in str(error)
