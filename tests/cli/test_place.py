"""Whom a command asks: a note counts only while its writer lives and holds the home."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.cli.place import Place, noted, read_note, served_at
from playhead.errors import ServerUnreachable
from playhead.hosting import HomeLock
from tests.cli.conftest import Call

URL = "http://127.0.0.1:4317"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(tmp_path / "home")


@pytest.fixture
def lock(place: Place) -> HomeLock:
    lock = HomeLock(place.home.lock_path)
    assert lock.try_take()
    return lock


def test_the_server_of_a_home_is_found_while_it_runs(place: Place, lock: HomeLock) -> None:
    assert served_at(place.home) is None
    with noted(place.home, URL):
        assert place.server_url() == URL
        assert place.home.server_path.stat().st_mode & 0o077 == 0
    assert read_note(place.home) is None
    lock.release()


def test_a_note_whose_home_nobody_holds_is_not_believed(place: Place, lock: HomeLock) -> None:
    with noted(place.home, URL):
        lock.release()
        assert served_at(place.home) is None
        assert lock.try_take(), "looking must not keep the lock"
        lock.release()


def test_a_note_of_a_dead_process_is_not_believed(place: Place, lock: HomeLock) -> None:
    place.home.server_path.write_text('{"url": "http://127.0.0.1:4317", "pid": 4194303}')
    assert served_at(place.home) is None
    lock.release()


@pytest.mark.parametrize("note", ["", "{", '{"url": 3}', '{"pid": 1}'])
def test_half_a_note_is_none(place: Place, lock: HomeLock, note: str) -> None:
    place.home.server_path.write_text(note)
    assert served_at(place.home) is None
    lock.release()


def test_a_server_that_was_named_goes_before_the_one_that_is_there(place: Place, lock: HomeLock) -> None:
    with noted(place.home, URL):
        assert Place.of(place.home.path, "http://elsewhere:1").server_url() == "http://elsewhere:1"
    lock.release()


def test_no_server_says_how_to_start_one(place: Place) -> None:
    with pytest.raises(ServerUnreachable) as raised:
        place.required_server_url()
    assert "playhead up" in (raised.value.hint or "")


@pytest.mark.parametrize("command", ["up", "server"])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(call: Call, command: str) -> None:
    refused = call(command, "--store", "postgresql://me:geheim@127.0.0.1:1/db", "--port", "0")
    assert refused.code == 2
    assert "geheim" not in refused.out + refused.err
    assert "PGPASSFILE" in refused.err
