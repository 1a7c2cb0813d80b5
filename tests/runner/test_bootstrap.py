"""The order crosses a pipe whole or not at all, and no text shows what is secret in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from playhead.core.events import Origin
from playhead.errors import UsageError
from playhead.runner.bootstrap import MAX_FILED_BYTES, MAX_ORDER_BYTES, RunnerOrder

SECRETS = ("5ec7e7000001", "s3://user:pass@bucket", "run-key-text", "flow-key-text")
ORDER = RunnerOrder(
    server="unix:///run/playhead.sock",
    agent="brisk-otter-4f2a",
    run="ab" * 16,
    epoch=2,
    grant=SECRETS[0],
    flow="census",
    seal="5ea1" * 8,
    origin=Origin.SCHEDULE,
    schedule_id="c0de" * 4,
    scheduled_for=1_700_000_000_000_000,
    executor="thread",
    storage_url=SECRETS[1],
    storage_id="57" * 8,
    key_id="4e" * 8,
    run_key=SECRETS[2],
    flow_key=SECRETS[3],
    lease_seconds=15.0,
)


def through_a_pipe(data: bytes) -> RunnerOrder:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return RunnerOrder.from_pipe(reading)


def written() -> bytes:
    reading, writing = os.pipe()
    ORDER.to_pipe(writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def test_an_order_crosses_a_pipe_and_the_pipe_is_closed() -> None:
    reading, writing = os.pipe()
    ORDER.to_pipe(writing)
    os.close(writing)
    assert RunnerOrder.from_pipe(reading) == ORDER
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(reading)


def test_no_repr_shows_a_secret() -> None:
    for secret in SECRETS:
        assert secret not in repr(ORDER)
        assert secret not in str(ORDER)


def test_an_order_that_was_cut_anywhere_is_refused_without_its_content() -> None:
    whole = written()
    for length in range(len(whole)):
        with pytest.raises(UsageError) as refused:
            RunnerOrder.parse(whole[:length])
        assert not any(secret in str(refused.value) for secret in SECRETS)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"epoch":2', b'"epoch":0', "epoch"),
        (b'"run_key":"run-key-text"', b'"run_key":123456789012', "run_key"),
        (b'"executor":"thread"', b'"s3cret_nm":"thread"', "an unknown field"),
        (b'"grant":"5ec7e7000001"', b'"grant":"XXXXXXXXXXXX"', "grant"),
        (b'{"server"', b'["server"', "all of it"),
    ],
)
def test_other_fields_are_named_without_their_values(old: bytes, new: bytes, told: str) -> None:
    changed = written().replace(old, new)
    changed = (len(changed) - 4).to_bytes(4, "big") + changed[4:]
    with pytest.raises(UsageError) as refused:
        through_a_pipe(changed)
    text = f"{refused.value!s} {refused.value!r} {refused.value.__cause__}"
    assert told in text
    assert not any(secret in text for secret in (*SECRETS, "123456789012", "s3cret_nm", "XXXXXXXXXXXX"))


def test_what_is_too_long_is_neither_written_nor_read() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(UsageError, match="4000 is the most"):
            ORDER.model_copy(update={"storage_url": "x" * MAX_ORDER_BYTES}).to_pipe(writing)
    finally:
        os.close(reading)
        os.close(writing)
    body = b"x" * (MAX_ORDER_BYTES + 1)
    with pytest.raises(UsageError, match="not whole"):
        through_a_pipe(len(body).to_bytes(4, "big") + body)


def test_what_is_added_behind_an_order_is_refused() -> None:
    with pytest.raises(UsageError, match="not whole"):
        through_a_pipe(written() + b"x")


def test_a_descriptor_that_is_none_says_how_runners_are_started() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(UsageError, match="playhead agent local"):
        RunnerOrder.from_pipe(reading)


def test_an_order_in_a_file_brings_an_environment_along_and_is_gone_once_it_was_read(tmp_path: Path) -> None:
    order = ORDER.model_copy(update={"env": {"NAME": "x" * MAX_ORDER_BYTES}})
    file = tmp_path / "order"
    file.write_bytes(order.to_bytes())
    assert RunnerOrder.from_file(str(file)) == order
    assert not file.exists()
    with pytest.raises(UsageError, match="cannot be taken from"):
        RunnerOrder.from_file(str(file))
    with pytest.raises(UsageError, match="smaller environment"):
        ORDER.model_copy(update={"env": {"NAME": "x" * MAX_FILED_BYTES}}).to_bytes()
