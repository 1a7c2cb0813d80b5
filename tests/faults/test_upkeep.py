"""Backup, copy, compaction and a change of format, killed at each of their flushes in turn: the log is whole, and the same command again
does the rest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from playhead.log.sqlite import SqliteBackend
from tests.faults.injected import FLUSHES
from tests.faults.means import need
from tests.faults.stories import FLOWS, ended_well, told_steps
from tests.log.test_sqlite_formats import FORMAT_1
from tests.postgres.cluster import Cluster
from tests.system.machine import PLAYHEAD, Machine
from tests.upkeep.samples import fill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

COMMAND_SECONDS: Final = 60.0
MOST: Final = 200  # flushes of one command: what never ends by itself is no test
RUNS: Final = 8  # of which the newest is still at work

Command = tuple[str, ...]


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    need("strace")
    path = tmp_path / "original.db"
    backend = await SqliteBackend.open(path)
    await fill(backend, runs=RUNS)
    await backend.close()
    return path


def killed_at_each_flush(
    tmp_path: Path, log: Path, command_on: Callable[[Path], Command], *, every: int = 1
) -> Iterator[Path]:
    """A folder with a copy of the log, in which the command was killed as it came to a flush; the last is of one that came to its end."""
    for number in count(1, every):
        assert number < MOST, "the command is killed again and again, and should have come to its end"
        folder = tmp_path / f"killed-{number}"
        folder.mkdir()
        shutil.copy(log, folder / "log.db")
        done = run(*command_on(folder), killed_at=number)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        yield folder
        if done.returncode == 0:
            assert number > 1, "it flushed nothing"
            return


def run(*command: str, killed_at: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end, or to that flush of one of its threads."""
    tracer = ("strace", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, "-e", f"trace={FLUSHES}")
    kill = () if killed_at is None else (*tracer, "-e", f"inject={FLUSHES}:signal=KILL:when={killed_at}")
    return subprocess.run(
        [*kill, *command], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip


def store(*arguments: str) -> Any:
    done = run(*PLAYHEAD, "store", *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def sqlite(path: Path) -> str:
    return f"sqlite:{path}"


def check_whole(path: Path) -> Any:
    return check_log(sqlite(path))


def check_log(url: str) -> Any:
    """What it holds, after it was looked through."""
    assert store("verify", url)["sound"]
    return store("info", url, "--exact")


def test_a_backup_has_its_name_only_when_it_is_whole(tmp_path: Path, log: Path) -> None:
    whole = check_whole(log)

    def back_up(folder: Path) -> Command:
        return (*PLAYHEAD, "store", "backup", "--store", sqlite(folder / "log.db"), str(folder / "backup.db"))

    for folder in killed_at_each_flush(tmp_path, log, back_up):
        backup = folder / "backup.db"
        if not backup.exists():
            again = run(*back_up(folder))
            assert again.returncode == 0, again.stderr
        assert check_whole(backup)["events"] == whole["events"]
        assert check_whole(folder / "log.db")["head"] == whole["head"]


def test_a_copy_goes_on_where_it_was_cut_off(tmp_path: Path, log: Path) -> None:
    whole = check_whole(log)
    for folder in killed_at_each_flush(
        tmp_path, log, lambda folder: (*PLAYHEAD, "store", "copy", sqlite(folder / "log.db"), sqlite(folder / "copy.db"))
    ):  # fmt: skip
        copied = store("copy", sqlite(folder / "log.db"), sqlite(folder / "copy.db"))
        assert (copied["whole"], copied["head"]) == (True, whole["head"])
        assert check_whole(folder / "copy.db")["link"] == whole["link"]
        assert check_whole(folder / "log.db")["head"] == whole["head"]


def test_a_compaction_is_ended_by_the_next_one_and_its_archive_is_whole_before_anything_goes(
    tmp_path: Path, log: Path
) -> None:
    events = check_whole(log)["events"]
    options = ("--ended-before", "0s", "--yes")
    for folder in killed_at_each_flush(
        tmp_path,
        log,
        lambda folder: (
            *PLAYHEAD, "store", "compact", sqlite(folder / "log.db"), *options, "--archive", str(folder / "archive.db")
        ),
        every=5,
    ):  # fmt: skip
        archive = folder / "archive.db"
        held = check_whole(folder / "log.db")
        if held["events"] != events:
            assert check_whole(archive)["runs"] == {"cancelled": 2, "failed": 2, "succeeded": 3}
        store("compact", sqlite(folder / "log.db"), *options)
        left = check_whole(folder / "log.db")
        assert left["runs"] == {"forgotten": RUNS - 1, "running": 1}


def test_a_change_of_format_is_done_or_not(tmp_path: Path, log: Path) -> None:
    """The log of an earlier version, opened to be written by this one."""
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(FORMAT_1)
    program = "import asyncio, sys; from playhead.log import open_backend; asyncio.run(asyncio.wait_for(open_backend(sys.argv[1]), 30))"
    for folder in killed_at_each_flush(
        tmp_path, old, lambda folder: (sys.executable, "-c", program, sqlite(folder / "log.db"))
    ):  # fmt: skip
        assert store("info", sqlite(folder / "log.db"), "--exact")["head"] == 2
        again = run(sys.executable, "-c", program, sqlite(folder / "log.db"))
        assert again.returncode == 0, again.stderr
        told = store("info", sqlite(folder / "log.db"), "--exact")
        assert (told["head"], told["format"]) == (2, 2)


def test_old_runs_go_from_under_servers_at_work(host: Machine, postgres: Cluster) -> None:
    """PostgreSQL, where compaction needs no server to stop: what is at work goes on, and who follows goes on, too."""
    url = postgres.new_log()
    host.env["PLAYHEAD_STORE"] = url
    host.up()
    host.playhead("register", f"{FLOWS}:chain")
    old = [host.ask("chain", length=0) for _ in range(3)]
    for each in old:
        assert host.ended(each)["state"] == "succeeded"
    at_work = host.ask("chain", length=60, seconds=0.1)
    follower = host.start(*PLAYHEAD, "events", "--all", "--follow", "--json", name="followed")
    host.wait_for(lambda: told_steps(host, at_work) >= 2, "acknowledged steps")
    removed = store("compact", url, "--ended-before", "0s", "--yes")["removed"]
    assert (removed["runs"], removed["skipped"]) == (3, 0)
    assert told_steps(host, at_work) < 60, "the run is too short for this machine"
    ended_well(host, at_work, steps=60)
    for each in old:
        assert host.view(each)["forgotten_at"] is not None
    whole = check_log(url)
    assert whole["runs"] == {"forgotten": 3, "succeeded": 1}

    def followed() -> list[dict[str, Any]]:
        lines = (host.home / "followed.out").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    host.wait_for(
        lambda: followed() and followed()[-1]["position"] == whole["head"], "the follower to come to the head"
    )
    assert follower.poll() is None
    assert {event["type"] for event in followed()} >= {"run.forgotten", "run.succeeded"}
    positions = [event["position"] for event in followed()]
    assert positions == sorted(set(positions))
