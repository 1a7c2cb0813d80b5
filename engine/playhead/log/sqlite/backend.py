"""The log in one SQLite file, the default: one writer in its own thread, readers beside it. No SQL here.

Every commit is flushed to the disk (WAL with `synchronous=FULL`) before it is reported. Cancelling a commit leaves it to
its thread, which ends the transaction; cancelling a read throws its result away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from playhead.core.names import LogId, Position, StreamName, Version
from playhead.errors import UsageError
from playhead.log.news import News
from playhead.log.onethread import OneThread
from playhead.log.ranges import Range
from playhead.log.shown import without_secrets
from playhead.log.sqlite.held import Held
from playhead.log.sqlite.readers import Readers
from playhead.log.sqlite.reading import CAPABILITIES, Reading, SqliteReader
from playhead.ports.store import Append, Capability, ForgettingBackend, Kept, Outcome, RestoringBackend, StoreBackend

BUSY_SECONDS: Final = 5.0  # how long a commit waits for a stranger's transaction; none of ours is ever that long


class SqliteBackend(Reading, ForgettingBackend, RestoringBackend):
    """Opened by `SqliteBackend.open`."""

    def __init__(self, held: Held, thread: OneThread) -> None:
        self._held = held
        self._thread = thread
        self._news = News(held.head)

    @classmethod
    async def open(
        cls, path: Path, *, busy_seconds: float = BUSY_SECONDS, max_bytes: int | None = None
    ) -> SqliteBackend:
        """Open the log at `path`; a new one is made if there is no file. It may grow to about `max_bytes`.

        LogUnusable: not a Playhead log, damaged, cut short, of a newer format, read-only, or written by another process.
        """
        thread = OneThread("playhead-log")
        made: list[Held] = []

        def let_go() -> None:
            for held in made:
                held.close()

        try:
            await thread.run(lambda: made.append(Held(path, busy_seconds, max_bytes)))
        except BaseException:  # a cancelled caller: the log is opened still, and its lock must not stay behind
            thread.start(let_go)
            await thread.close()
            raise
        return cls(made[0], thread)

    @property
    def log_id(self) -> LogId:
        return self._held.log_id

    @property
    def restored(self) -> Position | None:
        return self._held.restored

    @property
    def capabilities(self) -> frozenset[Capability]:
        return CAPABILITIES

    @property
    def _readers(self) -> Readers:
        return self._held.readers

    async def accept_restored(self) -> None:
        await self._thread.run(self._held.accept_restored)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        work = self._thread.start(partial(self._held.write, batch))
        work.add_done_callback(
            self._tell
        )  # not after the await: the caller may be cancelled, and the commit happens still
        outcomes, _ = await asyncio.shield(work)
        return outcomes

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        return await self._thread.run(lambda: self._held.forget(stream, upto))

    async def restore(self, log_id: LogId, kept: Sequence[Kept], forgotten: Sequence[Range] = ()) -> None:
        self._news.tell(await self._thread.run(lambda: self._held.restore(log_id, kept, forgotten)))

    async def set_aside(self) -> None:
        """Make this file a copy that is kept aside, durably: whoever opens it later as a log begins another history."""
        await self._thread.run(self._held.set_aside)

    async def shrink(self) -> None:
        """Give what is free in the file back to the disk: the file is written anew, for which it needs its size once more."""
        await self._thread.run(self._held.shrink)

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        await self._news.wait(after, timeout_seconds)

    async def close(self) -> None:
        """Let what is under way end, then give the log to the next writer."""
        try:
            await self._held.readers.close()  # before the writer: the last connection that closes checkpoints
        finally:
            try:
                await self._thread.run(self._held.close_writer)
            finally:
                await self._thread.close()

    def _tell(self, work: asyncio.Future[tuple[list[Outcome], Position]]) -> None:
        if not work.cancelled() and work.exception() is None:
            self._news.tell(work.result()[1])


def url_for(path: Path) -> str:
    """The URL of the log at `path`, whatever letters the path has."""
    return f"sqlite://{quote(str(path.absolute()))}"


async def open_url(url: str) -> StoreBackend:
    """`sqlite:///absolute/log.db` or `sqlite:relative/log.db`, with `?max_bytes=N` for a limit on its size, or `?mode=ro` to read it
    only, beside whoever writes it."""
    rest, _, query = url.removeprefix("sqlite:").partition("?")
    path = unquote(rest.removeprefix("//"))
    settings = dict(parse_qsl(query, keep_blank_values=True))
    max_bytes, mode = settings.pop("max_bytes", None), settings.pop("mode", "rw")
    if not path or settings or mode not in {"ro", "rw"} or (max_bytes is not None and not max_bytes.isdecimal()):
        raise UsageError(
            f"{without_secrets(url)!r} is not the URL of a SQLite log",
            hint="write sqlite:///absolute/log.db or sqlite:relative/log.db; ?max_bytes=N limits its size, ?mode=ro reads only",
        )
    if mode == "ro":
        return await SqliteReader.open(Path(path))
    return await SqliteBackend.open(Path(path), max_bytes=None if max_bytes is None else int(max_bytes))
