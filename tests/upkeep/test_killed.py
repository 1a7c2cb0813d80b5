"""Copy, backup and compact are killed (SIGKILL, real processes): the log is whole, and the same command again does what is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from playhead.core.names import Micros
from playhead.log.sqlite import url_for
from playhead.upkeep import Retention, opened_to_read, plan, verify
from tests.upkeep.places import sqlite_log
from tests.upkeep.samples import fill

pytestmark = pytest.mark.real

SECONDS = 120  # far more than a command takes on a loaded machine
LONG_AGO_ENDED = ("--ended-before", "2000-01-01", "--yes")


PLAYHEAD = ("-c", "from playhead.cli import main; main()")


def run(program: tuple[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )


def killed(at: tuple[str, str, int], *arguments: str) -> None:
    method, when, number = at
    done = run(("-m", "tests.upkeep.dying"), method, when, str(number), *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr


def again(*arguments: str) -> None:
    done = run(PLAYHEAD, *arguments)
    assert done.returncode == 0, done.stderr


async def link_of(path: Path) -> str | None:
    async with opened_to_read(url_for(path)) as backend:
        found = await verify(backend)
    assert found.sound, found.findings
    return found.link


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    async with sqlite_log(path) as backend:
        await fill(backend)
    return path


@pytest.mark.parametrize("at", [("restore", "after", 2), ("set_aside", "after", 1)])
async def test_a_backup_that_was_killed_has_no_name_and_is_made_by_the_same_command(
    log: Path, tmp_path: Path, at: tuple[str, str, int]
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    file = folder / "backup.db"
    command = ("store", "backup", str(file), "--store", url_for(log))
    killed(at, *command)
    assert not file.exists()
    again(*command)
    assert [each.name for each in folder.iterdir()] == ["backup.db"], "nothing is left of the one that was killed"
    assert await link_of(file) == await link_of(log)


@pytest.mark.parametrize("at", [("restore", "before", 1), ("restore", "after", 2)])
async def test_a_copy_that_was_killed_is_gone_on_with_by_the_same_command(
    log: Path, tmp_path: Path, at: tuple[str, str, int]
) -> None:
    target = tmp_path / "copy.db"
    command = ("store", "copy", url_for(log), url_for(target))
    killed(at, *command)
    again(*command)
    assert await link_of(target) == await link_of(log)


@pytest.mark.parametrize("at", [("commit", "after", 2), ("forget", "after", 3)])
async def test_a_removal_that_was_killed_leaves_a_sound_log_and_is_ended_by_the_same_command(
    log: Path, at: tuple[str, str, int]
) -> None:
    command = ("store", "compact", url_for(log), *LONG_AGO_ENDED)
    killed(at, *command)
    await link_of(log)
    again(*command)
    await link_of(log)
    async with opened_to_read(url_for(log)) as backend:
        assert await plan(backend, Retention(ended_before=Micros(2**62))) == [], "all that had ended is gone"
