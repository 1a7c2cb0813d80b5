"""Asking a peer: its driver as a process in the peer's environment, bounded in time. Owns that process; knows no peer."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.harness import Effort, Row
from benchmarks.peers import Peer
from benchmarks.peers.environments import python, quiet_environ
from benchmarks.peers.workplace import end

REPOSITORY: Final = Path(__file__).parent.parent.parent
PEER_SECONDS: Final = 300.0  # for all that one peer is asked
STOP_SECONDS: Final = 20.0  # for a driver to end what it started; then all of it is killed
ERROR_CHARACTERS: Final = 300


class PeerError(Exception):
    """A driver that ended badly, or too late, by what it said last. The rows that it gave until then count."""


def ask(peer: Peer, effort: Effort, folder: Path, seconds: float = PEER_SECONDS) -> Iterator[Row]:
    """The peer's rows as they come. Raises PeerError."""
    command = [str(python(peer)), "-m", peer.driver, str(folder), str(effort.scale)]
    yield from rows_of(command, folder, seconds)


def rows_of(command: list[str], folder: Path, seconds: float) -> Generator[Row]:
    with tempfile.TemporaryFile(dir=folder) as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, cwd=REPOSITORY,
            env=quiet_environ(),
        )  # fmt: skip
        with process, _ended_after(process, seconds) as late:
            assert process.stdout is not None
            for line in process.stdout:
                yield Row.from_json(json.loads(line))
            code = process.wait()
        if late.is_set():
            raise PeerError(f"its driver had not ended after {seconds:.0f} s")
        if code:
            said.seek(0)
            raise PeerError(
                f"its driver ended with {code}: {said.read().decode(errors='replace')[-ERROR_CHARACTERS:].strip()}"
            )


@contextmanager
def _ended_after(process: subprocess.Popen[str], seconds: float) -> Generator[threading.Event]:
    """The process ends with the block or at its time, whichever is first; the event says that it was its time."""
    late = threading.Event()

    def end_late() -> None:
        late.set()
        end(process, STOP_SECONDS)

    timer = threading.Timer(seconds, end_late)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        timer.join()
        end(process, STOP_SECONDS)
