"""What is in a log: its id, head, size, and how much of what. Reads only; where a log is large it looks at samples, and says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from playhead.core.names import NAMESPACE, LogId, Micros, Position
from playhead.ports.store import Recorded, StoreBackend
from playhead.upkeep.offers import restoring
from playhead.upkeep.pages import PAGE_EVENTS, events_upto
from playhead.upkeep.progress import Progress, unheard
from playhead.upkeep.runs import Runs

EXACT_POSITIONS: Final = 200_000  # a log up to here is read whole, which takes a second or two
SAMPLES: Final = 50  # pages of a larger one that are looked at, at even distances


@runtime_checkable
class Sized(Protocol):
    """A backend that can say what its log takes up."""

    async def sizes(self) -> Mapping[str, int]:
        """Bytes by what they are for: "log", "write-ahead log", "indexes"."""
        ...


@runtime_checkable
class Formatted(Protocol):
    """A backend whose log has a format of its own, with a number."""

    @property
    def format(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Inventory:
    """`exact` is False where `events` are estimated from samples; `streams` and `runs` are then not known."""

    log_id: LogId
    head: Position
    link: str | None  # of the hash chain at the head, in hexadecimal digits
    capabilities: tuple[str, ...]
    format: int | None
    sizes: Mapping[str, int]
    oldest_at: Micros | None
    newest_at: Micros | None
    exact: bool
    events: Mapping[str, int]  # by type
    streams: Mapping[str, int] | None  # by kind: run, flow, agent, token
    runs: Mapping[str, int] | None  # by state


async def take_inventory(backend: StoreBackend, *, exact: bool = False, progress: Progress = unheard) -> Inventory:
    """`exact`: count everything, however large the log is."""
    head = await backend.head()
    exact = exact or head <= EXACT_POSITIONS
    counted = await (_count(backend, head, progress) if exact else _estimate(backend, head, progress))
    return Inventory(
        log_id=backend.log_id,
        head=head,
        link=await _link(backend, head),
        capabilities=tuple(sorted(backend.capabilities)),
        format=backend.format if isinstance(backend, Formatted) else None,
        sizes=await backend.sizes() if isinstance(backend, Sized) else {},
        oldest_at=await _moment(backend, after=Position(0)),
        newest_at=await _newest(backend, head),
        exact=exact,
        events=dict(counted.events.most_common()),
        streams=counted.streams,
        runs=counted.runs,
    )


@dataclass(frozen=True, slots=True)
class _Counted:
    events: Counter[str]
    streams: Mapping[str, int] | None = None
    runs: Mapping[str, int] | None = None


async def _count(backend: StoreBackend, head: Position, progress: Progress) -> _Counted:
    events, runs, streams = Counter[str](), Runs(), set[str]()
    async for page in events_upto(backend, head, progress):
        for event in page:
            events[event.type] += 1
            streams.add(event.stream)
            runs.add(event)
    kinds = Counter(_kind(stream) for stream in streams)
    return _Counted(events, dict(sorted(kinds.items())), runs.by_state())


async def _estimate(backend: StoreBackend, head: Position, progress: Progress) -> _Counted:
    seen, positions = Counter[str](), 0
    async for page, scanned in _samples(backend, head):
        seen.update(event.type for event in page)
        positions += scanned
        progress(positions, SAMPLES * PAGE_EVENTS)
    factor = head / positions if positions else 1.0
    return _Counted(Counter({kind: round(count * factor) for kind, count in seen.items()}))


async def _samples(backend: StoreBackend, head: Position) -> AsyncGenerator[tuple[Sequence[Recorded], int]]:
    """Pages at even distances, and how many positions each was scanned over."""
    for number in range(SAMPLES):
        after = Position(head * number // SAMPLES)
        page = await backend.read_all(after=after, limit=PAGE_EVENTS)
        yield page.events, max(page.scanned - after, 1)


async def _link(backend: StoreBackend, head: Position) -> str | None:
    source = restoring(backend)
    if source is None or head == 0:
        return None
    newest = await source.read_kept(after=Position(head - 1), limit=1)
    link = (
        newest[0].link if newest else next((link for _, last, link in await source.forgotten() if last == head), None)
    )
    return link.hex() if link is not None else None


async def _moment(backend: StoreBackend, *, after: Position) -> Micros | None:
    page = await backend.read_all(after=after, limit=1)
    return page.events[0].recorded_at if page.events else None


async def _newest(backend: StoreBackend, head: Position) -> Micros | None:
    """Of the newest event. Where the head is a hole, it is looked for behind ever earlier positions."""
    back = 1
    while head > 0:
        after = Position(max(head - back, 0))
        page = await backend.read_all(after=after, limit=PAGE_EVENTS)
        if page.events:
            return page.events[-1].recorded_at
        if after == 0:
            break
        back *= 10
    return None


def _kind(stream: str) -> str:
    namespace, _, rest = stream.partition("/")
    kind, slash, _ = rest.partition("/")
    return kind if namespace == NAMESPACE and slash else "other"
