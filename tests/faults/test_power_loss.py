"""Power fails while everything runs: what was acknowledged is on the disk that the next boot finds (S2, S5, S12).

The disk is a file. A copy of it at a moment has what was flushed by then, and nothing of what the system still held in memory.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.error
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.faults.disks import Disk, disk
from tests.faults.injected import FLUSHES, injected
from tests.faults.stories import FLOWS, linear, steps_of, told_steps
from tests.system.machine import Machine

pytestmark = pytest.mark.faults


@pytest.fixture
def home(host: Machine) -> Iterator[Disk]:
    """Log and storage on a disk of their own; the ledger stays outside, as the world does."""
    with disk(host.home) as made:
        move_to(host, made.mounted)
        yield made


def move_to(host: Machine, disk: Path) -> None:
    host.env["PLAYHEAD_STORE"] = f"sqlite://{disk}/log.db"
    host.env["PLAYHEAD_STORAGE"] = (disk / "storage").as_uri()


def boot(host: Machine, disk: Path) -> None:
    """The next boot: the same home on what the disk has kept. Read models are no part of what is promised."""
    for name in ("views.db", "views.db-wal", "views.db-shm"):
        (host.home / name).unlink(missing_ok=True)
    move_to(host, disk)
    host.up()


@contextmanager
def power_fails(disk: Disk, at: Path, *pids: int) -> Generator[Path]:
    """What the disk has kept, mounted there. The processes stand still while it is copied, and are killed: their power is gone."""
    for pid in pids:
        os.killpg(pid, signal.SIGSTOP)
    with disk.lose_power(at) as found:
        for pid in pids:
            os.killpg(pid, signal.SIGKILL)
        yield found


def test_a_disk_of_these_tests_forgets_what_was_not_flushed(host: Machine, home: Disk, tmp_path: Path) -> None:
    """Else they would show nothing."""
    kept, lost = home.mounted / "kept", home.mounted / "lost"
    with kept.open("wb", buffering=0) as file:
        file.write(b"flushed")
        os.fsync(file.fileno())
    lost.write_bytes(b"not flushed")
    with power_fails(home, tmp_path / "after") as found:
        assert (found / "kept").read_bytes() == b"flushed"
        assert not (found / "lost").exists() or (found / "lost").read_bytes() == b""


@pytest.mark.parametrize("size", [0, 100_000], ids=["records", "results"])
def test_what_was_acknowledged_survives_a_loss_of_power(host: Machine, home: Disk, tmp_path: Path, size: int) -> None:
    up = host.up()
    host.playhead("register", f"{FLOWS}:chain")
    run = host.ask("chain", length=30, seconds=0.05, size=size)
    host.wait_for(lambda: told_steps(host, run) >= 5, "acknowledged steps")
    before = host.events(run)
    acknowledged = sum(event["type"] == "task.succeeded" for event in before)
    assert acknowledged < 30, "too late for a power failure to be of use"
    with power_fails(home, tmp_path / "after", up.pid, host.runner(run)) as found:
        boot(host, found)
        assert host.ended(run)["state"] == "succeeded"
        assert linear(host, run)[: len(before)] == before, "an acknowledged event is lost, or another"
        done = Counter(steps_of(host))
        assert all(done[f"step {number}"] == 1 for number in range(acknowledged)), "an acknowledged step ran again"
        host.end(host.started[-1])


def test_a_lying_disk_under_the_log_loses_events_and_makes_no_completed_task_run_again(
    host: Machine, tmp_path: Path
) -> None:
    """It says "flushed" and has flushed nothing. Nothing can give back what it lost; but no cursor of before goes on as if nothing had
    happened, and what the run had completed is in the journal, on the user's side, from where the log hears of it again."""
    with disk(host.home) as lying:
        host.env["PLAYHEAD_STORE"] = f"sqlite://{lying.mounted}/log.db"
        server = host.server()
        port = host.url().rpartition(":")[2]
        host.playhead("register", f"{FLOWS}:chain")
        host.agent()
        run = host.ask("chain", length=40, seconds=0.1)
        host.wait_for(lambda: told_steps(host, run) >= 3, "acknowledged steps")
        honest = host.events(run)
        with injected(server.pid, FLUSHES, "retval=0", to=tmp_path / "calls") as lie:
            host.wait_for(lambda: told_steps(host, run) >= len(honest) and lie.met, "steps that it lies about")
            told = host.events(run)
            cursor = json.loads(host.get("/api/info"))["cursor"]
            with power_fails(lying, tmp_path / "after", server.pid) as found:
                host.env["PLAYHEAD_STORE"] = f"sqlite://{found}/log.db"
                again = host.server(port=port)
                assert status_of(host, f"/api/events?cursor={quote(cursor)}") == 409
                kept = [event for event in host.events(run) if event in told]
                assert kept == told[: len(kept)]
                assert len(honest) <= len(kept) < len(told), "what was flushed is kept, and what was lied about is lost"
                shown = host.ended(run)
                assert shown["state"] == "succeeded"
                done = Counter(steps_of(host))
                assert set(done) == {f"step {number}" for number in range(40)}
                assert sum(done.values()) <= 40 + shown["losses"], "only what was in flight may run twice"
                linear(host, run)
                host.end(again)


def status_of(host: Machine, path: str) -> int:
    try:
        return len(host.get(path)) and 200
    except urllib.error.HTTPError as error:
        with error:
            return error.code
