"""A batch of appends as the parameters of `append_1`, and its answer as outcomes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from playhead.core.names import Position, Version
from playhead.errors import UsageError
from playhead.log import chain, same_body
from playhead.ports.store import Append, Appended, Conflict, Duplicate, Expect, Outcome
from playhead_adapters.stores.postgres.arrays import Byteas, Int8s, Texts
from playhead_adapters.stores.postgres.rows import packed

Standing = tuple[int, int | None, int | None, bytes]  # of an append that is there: count, epoch, first_seq, body

ANY: Final = -1  # version, as the function writes it
ABSENT: Final = -1  # epoch and record, as the functions write them
_NEVER: Final = -2  # a version that no stream has
APPENDED, CONFLICT, DUPLICATE = range(3)


class Answer(NamedTuple):
    """What became of a batch: one element for each append, where its last event is, or the stream's version at a conflict."""

    kinds: list[int]
    lasts: list[int]
    versions: list[int]
    head: Position  # the log's end behind it
    link: bytes


def values_of(batch: Sequence[Append], bodies: Sequence[bytes]) -> dict[str, Any]:
    """What both appending and restoring say of each append."""
    streams: dict[str, int] = {}
    actors: dict[str, int] = {}
    first_like: dict[tuple[str, str], int] = {}
    for append in batch:
        if "\0" in append.stream or "\0" in append.actor:
            raise UsageError(
                f"the stream {append.stream!r} or the actor {append.actor!r} has a NUL in its name, which PostgreSQL cannot keep",
                hint="give it another name",
            )
    return {
        "stream_of": Int8s([streams.setdefault(append.stream, len(streams) + 1) for append in batch]),
        "actor_of": Int8s([actors.setdefault(append.actor, len(actors) + 1) for append in batch]),
        "first_like": Int8s(
            [first_like.setdefault((append.stream, append.append_id), i) for i, append in enumerate(batch, 1)]
        ),
        "streams": Texts(list(streams)),
        "actors": Texts(list(actors)),
        "expected": Int8s([_expected(append) for append in batch]),
        "counts": Int8s([len(append.events) for append in batch]),
        "recorded_ats": Int8s([append.recorded_at for append in batch]),
        "epochs": Int8s([ABSENT if append.epoch is None else append.epoch for append in batch]),
        "first_seqs": Int8s([ABSENT if append.first_seq is None else append.first_seq for append in batch]),
        "append_ids": Byteas([packed(append.append_id) for append in batch]),
        "digests": Byteas([chain.digest(append, body) for append, body in zip(batch, bodies, strict=True)]),
        "bodies": Byteas(bodies),
    }


def _expected(append: Append) -> int:
    match append.expected:
        case Expect.ANY:
            return ANY
        case Expect.NO_STREAM:
            return 0
        case version:
            return version if version >= 0 else _NEVER


def outcome_of(
    append: Append, body: bytes, kind: int, last: int, version: int, standing: Mapping[int, Standing]
) -> Outcome:
    if kind == APPENDED:
        return Appended(Position(last - len(append.events) + 1), Position(last), Version(version))
    if kind == CONFLICT:
        return Conflict(Version(version))
    count, epoch, first_seq, before = standing[last]
    same = (epoch, first_seq) == (append.epoch, append.first_seq) and same_body(before, body)
    return Duplicate(Position(last - count + 1), Position(last), Version(version), same)
