"""Other processes that write to the store under test: started, listened to, killed. Owns them; what they do is in `writer.py`."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import IO, Final

import msgspec

from playhead.testing.checks import CheckFailed

TOLD_LETTERS: Final = 2_000  # of what a process that failed had to say
# For an interpreter to start and open the store, on a machine that is busy with other things
START_SECONDS: Final = 60.0


OPEN: Final = b"open\n"  # the first line of a process that has opened the store


class Acked(msgspec.Struct, frozen=True):
    """An append that this process was told is durable."""

    stream: str
    append_id: str
    count: int
    first: int
    last: int
    version: int


class Writer:
    """A process that writes. Its acknowledgements come as it gets them."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self.acked: list[Acked] = []

    async def opened(self) -> None:
        """Return when it has opened the store. CheckFailed: it could not."""
        try:
            line = await asyncio.wait_for(self._line(), START_SECONDS)
        except TimeoutError as error:
            raise CheckFailed("another process did not come so far as to open the store") from error
        if line != OPEN:
            raise CheckFailed(f"another process cannot open the store: {await self._said()}")

    def go(self) -> None:
        """Let it begin to write."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def wrote(self, appends: int) -> None:
        """Return when that many of its appends are acknowledged. CheckFailed: it ended before."""
        while len(self.acked) < appends:
            if not await self._next():
                raise CheckFailed(
                    f"another process ended after {len(self.acked)} acknowledgements: {await self._said()}"
                )

    async def ended(self) -> None:
        """Return when it has written all that it was to. CheckFailed: something kept it from that."""
        while await self._next():
            pass
        if await self._process.wait():
            raise CheckFailed(f"another process failed: {await self._said()}")

    async def kill(self) -> None:
        """SIGKILL, now; and what it had told before it died."""
        if self._process.returncode is None:
            self._process.kill()
        while await self._next():
            pass
        await self._process.wait()

    async def _next(self) -> bool:
        line = await self._line()
        if line:
            self.acked.append(msgspec.json.decode(line, type=Acked))
        return bool(line)

    async def _line(self) -> bytes:
        """Its next line; nothing at its end, where half a line tells nothing."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return line if line.endswith(b"\n") else b""

    async def _said(self) -> str:
        await self._process.wait()
        self._errors.seek(0)
        return (
            self._errors.read()[-TOLD_LETTERS:].decode(errors="replace").strip() or f"exit {self._process.returncode}"
        )


@asynccontextmanager
async def writers(url: str, kind: str, seeds: Sequence[int], *, stream: str = "-") -> AsyncGenerator[list[Writer]]:
    """One process for each seed, open and waiting for `go`. None outlives the block."""
    begun: list[Writer] = []
    try:
        with tempfile.TemporaryFile() as errors:
            for seed in seeds:
                writer = await _started([url, kind, str(seed), stream], errors)
                begun.append(writer)
            for writer in begun:
                await writer.opened()
            yield begun
    finally:
        for writer in begun:
            await writer.kill()


async def _started(arguments: Sequence[str], errors: IO[bytes]) -> Writer:
    """It finds modules where this process does: a store may be no installed package yet."""
    found = os.pathsep.join(path or os.curdir for path in sys.path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "playhead.testing.stores.writer",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": found},
    )
    return Writer(process, errors)
