"""A program that writes to a store and tells each acknowledgement in a line, for the checks that need another process, or kill one.

    python -m playhead.testing.stores.writer URL alone|together SEED [STREAM]

It opens the store, says so, waits for a line, and writes. `alone`: batches of all sizes into streams of its own, until it is killed.
`together`: some batches, each with an append to the stream that it shares with others, whose version it must hit.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Final

import msgspec

from playhead.core.names import StreamName, Version
from playhead.log import open_backend
from playhead.ports.store import Append, Appended, Conflict, StoreBackend
from playhead.testing.stores.processes import OPEN, Acked
from playhead.testing.stores.samples import new_append, new_stream

ALONE_BATCHES: Final = 5_000  # at most, should nobody kill it
TOGETHER_BATCHES: Final = 30
OWN_STREAMS: Final = 5
ATTEMPTS: Final = 1_000  # to hit the version of a stream that others write to


async def _main(url: str, kind: str, seed: int, stream: str) -> None:
    store = await open_backend(url)
    sys.stdout.buffer.write(OPEN)
    sys.stdout.buffer.flush()
    await asyncio.to_thread(sys.stdin.readline)
    if kind == "alone":
        await _write_alone(store, random.Random(seed))
    else:
        await _write_together(store, random.Random(seed), StreamName(stream))
    await store.close()


async def _write_alone(store: StoreBackend, rng: random.Random) -> None:
    streams = [new_stream() for _ in range(OWN_STREAMS)]
    for _ in range(ALONE_BATCHES):
        await _commit(store, [_any_append(rng, rng.choice(streams)) for _ in range(rng.randint(1, 5))])


async def _write_together(store: StoreBackend, rng: random.Random, shared: StreamName) -> None:
    version = Version(0)
    for _ in range(TOGETHER_BATCHES):
        own = [_any_append(rng, new_stream()) for _ in range(rng.randint(0, 3))]
        for _ in range(ATTEMPTS):
            outcome = await _commit(store, [*own, new_append(shared, expected=version, data={"of": 1})])
            own = []
            if isinstance(outcome, Appended):
                version = outcome.version
                break
            assert isinstance(outcome, Conflict), outcome
            version = outcome.actual
        else:
            raise SystemExit(f"{ATTEMPTS} conflicts in a row: the last said that the stream is at version {version}")


def _any_append(rng: random.Random, stream: StreamName) -> Append:
    """Of one event or of many, short or long: so that some commits take longer than others. Each event tells how many there are."""
    count = rng.choice((1, 1, 2, 7, 40))
    return new_append(stream, count, data={"of": count, "text": "x" * rng.choice((10, 10, 3_000))})


async def _commit(store: StoreBackend, batch: list[Append]) -> object:
    """Commit, and tell; the last append's outcome."""
    outcomes = await store.commit(batch)
    for append, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, Appended):
            count = len(append.events)
            acked = Acked(append.stream, append.append_id, count, outcome.first, outcome.last, outcome.version)
            sys.stdout.buffer.write(msgspec.json.encode(acked) + b"\n")
    sys.stdout.buffer.flush()
    return outcomes[-1]


if __name__ == "__main__":
    url, kind, seed, *rest = sys.argv[1:]
    asyncio.run(_main(url, kind, int(seed), rest[0] if rest else "-"))
