"""A backup: a log copied into a SQLite file, while it is served; and an archive: some streams of it, in their places. Change no log."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from playhead.core.names import Position, StreamName
from playhead.errors import UsageError
from playhead.log.kept import first_of
from playhead.log.ranges import Range
from playhead.log.sqlite import SqliteBackend
from playhead.ports.store import Kept, RestoringBackend, StoreBackend
from playhead.upkeep.aside import write_aside
from playhead.upkeep.copying import Copied, copy
from playhead.upkeep.offers import restoring
from playhead.upkeep.pages import appends_upto
from playhead.upkeep.progress import Progress, unheard


async def back_up(source: StoreBackend, file: Path, *, progress: Progress = unheard) -> Copied:
    """What the log holds now, as a file that is whole and durable before it has its name. UsageError: the file is there."""
    return await write_aside(file, lambda target: copy(source, target, progress=progress))


async def archive(
    source: StoreBackend, streams: Collection[StreamName], file: Path, *, progress: Progress = unheard
) -> None:
    """These streams, each append in its place and with its link; all that is not of them is to the file as if it had been forgotten.

    So the chain can be computed over it, and compared with the log. UsageError: the file is there, or the store gives no copies.
    """
    whole = restoring(source)
    if whole is None:
        raise UsageError(
            f"the store of log {source.log_id} gives no copies with ids and positions, so no archive can be made of it",
            hint="make a backup of the whole log first (playhead store backup), and compact without an archive",
        )
    await write_aside(file, lambda target: _copy_streams(whole, frozenset(streams), target, progress))


async def _copy_streams(
    source: RestoringBackend, streams: frozenset[StreamName], target: SqliteBackend, progress: Progress
) -> None:
    head, after = await source.head(), Position(0)
    forgotten = list(await source.forgotten())
    async for page in appends_upto(source, head, progress):
        wanted: list[Kept] = []
        left: list[Range] = [each for each in forgotten if after < each[1] <= page[-1].last]
        for kept in page:
            if kept.append.stream in streams:
                wanted.append(kept)
            else:
                left.append((first_of(kept), kept.last, kept.link))
        after = page[-1].last
        await target.restore(source.log_id, wanted, left)
    rest = [each for each in forgotten if after < each[1] <= head]
    await target.restore(source.log_id, [], rest)
