"""Where streams end, as this process knows by itself while nobody else writes. Owns that memory, and the places it gives to a batch.

It is a guess that costs the database nothing: the function that takes the places compares the end of the log with the one
they were reckoned from, under its lock, and takes none of them where it is another. Pure; no SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from playhead.core.names import Position
from playhead.log import chain
from playhead.ports.store import Append, Expect
from playhead_adapters.stores.postgres.arrays import Byteas, Int8s
from playhead_adapters.stores.postgres.batches import ABSENT, APPENDED, CONFLICT, Answer
from playhead_adapters.stores.postgres.rows import packed

KNOWN_NAMES: Final = 50_000  # streams and actors that are remembered, about 10 MB; then from scratch


@dataclass(slots=True)
class Placed:
    """A batch whose outcomes are reckoned already. `missed` are the appends that do not fit: only the database knows whether they are
    there under their id, and each is told with the head when it was its turn."""

    answer: Answer
    values: dict[str, Any]  # parameters of `extend_1`
    missed: list[tuple[int, Position]]


@dataclass(slots=True)
class _Rows:
    appends: list[Append] = field(default_factory=list[Append])
    bodies: list[bytes] = field(default_factory=list[bytes])
    streams: list[int] = field(default_factory=list[int])
    lasts: list[int] = field(default_factory=list[int])
    versions: list[int] = field(default_factory=list[int])
    links: list[bytes] = field(default_factory=list[bytes])


class Places:
    """All of it holds at one position of the log: `position`, of which `link` is the link."""

    def __init__(self) -> None:
        self._position: Position | None = None
        self._link = b""
        self._streams: dict[str, list[int]] = {}  # number and version
        self._actors: dict[str, int] = {}
        self._alone = True  # nobody else wrote between our last two batches

    def place(self, batch: Sequence[Append], bodies: Sequence[bytes]) -> Placed | None:
        """The batch behind the log's end. None: something about it is not known, or none of it fits.

        From now on the places count as taken: who learns that they were not calls `forget`.
        """
        if self._position is None or not self._alone:
            return None
        found = [self._streams.get(append.stream) for append in batch]
        streams = [stream for stream in found if stream is not None]
        if len(streams) < len(batch) or any(append.actor not in self._actors for append in batch):
            return None
        before, before_link = self._position, self._link
        answer, rows, missed = self._reckon(batch, bodies, streams)
        if not rows.appends:
            return None
        self._position, self._link = answer.head, answer.link
        values = {
            **self._values_of(rows),
            "before": before,
            "before_link": before_link,
            "head": answer.head,
            "link": answer.link,
            "missed_streams": Int8s([streams[place][0] for place, _ in missed]),
            "missed_ids": Byteas([packed(batch[place].append_id) for place, _ in missed]),
        }
        return Placed(answer, values, missed)

    def learn(
        self, answer: Answer, before: Position, streams: dict[str, tuple[int, int]], actors: dict[str, int]
    ) -> None:
        """What the database told of a batch that it placed: the log's end before, and behind it the streams' numbers and versions."""
        self._alone = self._alone if self._position is None else self._position == before
        if not self._alone or len(self._streams) + len(self._actors) > KNOWN_NAMES:
            self._streams.clear()
            self._actors.clear()
        self._position, self._link = answer.head, answer.link
        self._streams.update((name, [number, version]) for name, (number, version) in streams.items())
        self._actors.update(actors)

    def forget(self, *, alone: bool = True) -> None:
        """The places were not taken, or it is not known whether they were. Not `alone`: because somebody else writes as well."""
        self._alone = self._alone and alone
        self._position = None
        self._streams.clear()
        self._actors.clear()

    def _reckon(
        self, batch: Sequence[Append], bodies: Sequence[bytes], streams: Sequence[list[int]]
    ) -> tuple[Answer, _Rows, list[tuple[int, Position]]]:
        """Each append behind those before it; in a loop of its own for speed, and so is all that it does."""
        assert self._position is not None
        rows, missed = _Rows(), list[tuple[int, Position]]()
        kinds, lasts, versions = [APPENDED] * len(batch), list[int](), list[int]()
        head, link = int(self._position), self._link
        for i, (append, body, stream) in enumerate(zip(batch, bodies, streams, strict=True)):
            number, version = stream
            expected = append.expected
            if expected != version and expected is not Expect.ANY and (version or expected is not Expect.NO_STREAM):
                kinds[i] = CONFLICT
                missed.append((i, Position(head)))
                lasts.append(0)
            else:
                count = len(append.events)
                head += count
                version += count
                stream[1] = version
                link = chain.link(link, chain.digest(append, body), last=head, version=version)
                rows.appends.append(append)
                rows.bodies.append(body)
                rows.streams.append(number)
                rows.lasts.append(head)
                rows.versions.append(version)
                rows.links.append(link)
                lasts.append(head)
            versions.append(version)
        return Answer(kinds, lasts, versions, Position(head), link), rows, missed

    def _values_of(self, rows: _Rows) -> dict[str, Any]:
        appends, actors = rows.appends, self._actors
        return {
            "streams": Int8s(rows.streams),
            "lasts": Int8s(rows.lasts),
            "versions": Int8s(rows.versions),
            "links": Byteas(rows.links),
            "bodies": Byteas(rows.bodies),
            "actors": Int8s([actors[append.actor] for append in appends]),
            "counts": Int8s([len(append.events) for append in appends]),
            "recorded_ats": Int8s([append.recorded_at for append in appends]),
            "epochs": Int8s([ABSENT if append.epoch is None else append.epoch for append in appends]),
            "first_seqs": Int8s([ABSENT if append.first_seq is None else append.first_seq for append in appends]),
            "append_ids": Byteas([packed(append.append_id) for append in appends]),
        }
