"""A run's log lines, read from the user's storage. They are loose: not signed, and a crash may have cost the last of them."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
import orjson

from playhead.client.journals import claims_of, places_of
from playhead.core.names import Epoch
from playhead.core.views import RunView
from playhead.errors import NoSuchObject, TrustError
from playhead.home import Home
from playhead.journal.place import ENCRYPTED_LINE, JournalPlace
from playhead.ports.server import ServerApi
from playhead.ports.storage import Storage
from playhead.ports.store import Recorded
from playhead.trust.cipher import Cipher
from playhead.trust.keys import DerivedKey

FOLLOW_SECONDS: Final = 0.5  # between looks into storage, which tells no news
# Looks without a line after the run's end, before following ends: a runner writes its last lines after that
QUIET_LOOKS: Final = 4
GARBLED: Final = "GARBLED"  # the level of a line that does not read: a crash may cut one in the middle


@dataclass(frozen=True, slots=True)
class LogLine:
    """`at`: microseconds since 1970-01-01 UTC. `task` None: said by the flow itself. `attempt`: the task's; the flow's is `epoch`."""

    at: int
    level: str
    logger: str
    task: str | None
    attempt: int | None
    message: str
    epoch: int


def read_logs(view: RunView, history: Iterable[Recorded], home: Home, *, task: str | None = None) -> Iterator[LogLine]:
    """The lines that are there, of all epochs, in the order of their times. `task`: only of the task of that key.

    StorageLost: the run's storage is not this home's. `history` needs to hold the run's claims only.
    """
    storage = home.storage_of(f"run {view.run_id}", view.storage)
    key = partial(home.keys.run_key, view.run_id, key_id=view.key_id)
    tails = [_Tail(place, key) for place in places_of(view.run_id, history).values()]
    lines = [line for tail in tails for line in tail.more(storage, rest=True)]
    return (line for line in sorted(lines, key=_at) if _is_of(line, task))


async def follow_logs(
    api: ServerApi, run: str, home: Home, *, task: str | None = None, interval_seconds: float = FOLLOW_SECONDS
) -> AsyncGenerator[LogLine]:
    """The lines that are there, then those that come, until the run has ended and stays quiet. Raises as `read_logs`, and what the
    server answers."""
    view = await api.run(run, tasks=False)
    key = partial(home.keys.run_key, run, key_id=view.key_id)
    storage = await anyio.to_thread.run_sync(lambda: home.storage_of(f"run {run}", view.storage))
    tails: dict[Epoch, _Tail] = {}
    seen, quiet = 0, 0
    while quiet < QUIET_LOOKS:
        if view.attempt > len(tails):
            claims = await claims_of(api, view, after_version=seen)
            seen = max((claim.version for claim in claims), default=seen)
            tails |= {epoch: _Tail(place, key) for epoch, place in places_of(run, claims).items()}
        lines = await anyio.to_thread.run_sync(_look, list(tails.values()), storage, False)
        for line in lines:
            if _is_of(line, task):
                yield line
        if view.state.terminal:
            quiet = 0 if lines else quiet + 1
        else:
            view = await api.run(run, tasks=False)
        await anyio.sleep(interval_seconds)
    for line in await anyio.to_thread.run_sync(_look, list(tails.values()), storage, True):
        if _is_of(line, task):
            yield line


def _look(tails: list[_Tail], storage: Storage, rest: bool) -> list[LogLine]:
    return sorted((line for tail in tails for line in tail.more(storage, rest=rest)), key=_at)


class _Tail:
    """One epoch's lines, as far as they were read. The key is asked for only where lines are encrypted."""

    def __init__(self, place: JournalPlace, key: Callable[[], DerivedKey]) -> None:
        self._place = place
        self._key = key
        self._offset = 0
        self._newest = 0

    def more(self, storage: Storage, *, rest: bool) -> list[LogLine]:
        """The lines that were added since. A line without its end is left for later, unless the `rest` is asked for."""
        data = b""
        with suppress(NoSuchObject):  # nothing was said yet
            data = storage.read(self._place.log_lines, start=self._offset)
        whole = data if rest else data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [line for text in whole.splitlines() if text for line in self._lines(text)]

    def _lines(self, text: bytes) -> Iterator[LogLine]:
        if text.startswith(ENCRYPTED_LINE):
            path = self._place.log_lines
            try:
                data = b64decode(text[len(ENCRYPTED_LINE) :], validate=True)
                text = Cipher(self._key().secret, "lines").decrypt(data, path.encode(), path)
            except (binascii.Error, TrustError) as error:
                yield self._garbled(f"lines that cannot be decrypted: {error}")
                return
        for each in text.splitlines():
            yield self._line(each)

    def _line(self, text: bytes) -> LogLine:
        try:
            fields: dict[str, Any] = orjson.loads(text)
            line = LogLine(**fields, epoch=self._place.epoch)
        except (orjson.JSONDecodeError, TypeError):
            line = self._garbled(text.decode("utf-8", "replace"))
        self._newest = max(self._newest, line.at)
        return line

    def _garbled(self, said: str) -> LogLine:
        return LogLine(self._newest, GARBLED, "playhead", None, None, said, self._place.epoch)


def _at(line: LogLine) -> int:
    return line.at


def _is_of(line: LogLine, task: str | None) -> bool:
    return task is None or line.task == task
