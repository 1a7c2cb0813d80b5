"""Homes that something happened to: what is there is left as it is, and is whole again when it is mended."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from playhead.trust.keys import MasterKey
from tests.bad_input.world import Desk

Words = tuple[str, ...]


class Row(NamedTuple):
    item: str
    spoil: Callable[[Path], None]  # is given the home
    code: int
    said: Words


def _another_file(home: Path) -> None:
    _only_log(home).write_bytes(b"a diary, and not a log\n" * 200)


def _another_database(home: Path) -> None:
    log = _only_log(home)
    log.unlink()
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("CREATE TABLE diary (day, words)")


def _emptied(home: Path) -> None:
    _only_log(home).write_bytes(b"")


def _cut_in_its_header(home: Path) -> None:
    log = _only_log(home)
    log.write_bytes(log.read_bytes()[:40])


def _cut_short(home: Path) -> None:
    log = _only_log(home)
    log.write_bytes(log.read_bytes()[:5000])


def _cut_by_a_page(home: Path) -> None:
    log = _only_log(home)
    log.write_bytes(log.read_bytes()[:-4096])


def _only_its_wal_left(home: Path) -> None:
    log = _only_log(home)
    log.rename(log.with_name("log.db-wal"))


def _newer_format(home: Path) -> None:
    _changed(home, "UPDATE meta SET value = '3' WHERE key = 'format'")


def _newer_event(home: Path) -> None:
    _changed(
        home,
        "UPDATE appends SET body = CAST(replace(CAST(body AS TEXT), 'run.succeeded', 'run.levitated') AS BLOB)",
    )
    (home / "views.db").unlink()


def _older_views_gone(home: Path) -> None:
    (home / "views.db").write_bytes(b"no longer a database\n" * 500)


def _key_that_is_none(home: Path) -> None:
    (home / "key").write_text("nonsense\n")


def _key_that_others_read(home: Path) -> None:
    (home / "key").chmod(0o644)


def _unknown_setting(home: Path) -> None:
    (home / "config.toml").write_text('storrage = "/srv"\n')


ROWS = [
    Row("a log that is another file", _another_file, 3, ("log.db is not a Playhead log", "left untouched")),
    Row("a log that is another database", _another_database, 3, ("log.db is not a Playhead log", "left untouched")),
    Row("a log that was emptied", _emptied, 3, ("log.db is damaged", "the file is empty", "backup")),
    Row("a log cut in its header", _cut_in_its_header, 3, ("log.db is damaged", "40 bytes", "backup")),
    Row("a log that was cut short", _cut_short, 3, ("log.db is damaged or was cut short", "backup")),
    Row("a log without its last page", _cut_by_a_page, 3, ("log.db is damaged or was cut short", "backup")),
    Row("a log of which the wal is left", _only_its_wal_left, 3, ("log.db-wal is still beside it", "backup")),
    Row("a log in a newer format", _newer_format, 3, ("newer version (format 3", "pip install --upgrade")),
    Row("a log with a newer event", _newer_event, 3, ("'run.levitated'", "upgrade")),
    Row("a key that is none", _key_that_is_none, 2, ("key does not hold keys", "restore the file")),
    Row("a key that others may read", _key_that_others_read, 2, ("0644", "chmod 600")),
    Row("an unknown setting", _unknown_setting, 2, ("config.toml sets 'storrage'", "'storage'")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.item)
def test_a_spoilt_home_is_refused_left_alone_and_whole_when_mended(desk: Desk, tmp_path: Path, row: Row) -> None:
    backup = shutil.copytree(desk.home, tmp_path / "backup")
    row.spoil(desk.home)
    spoilt = _contents(desk.home)
    for command in (("runs",), ("show", "@last"), ("run", desk.flow("good")), ("up", "--port", "0")):
        desk.playhead(*command).refuses(row.code, *row.said)
    doctor = desk.playhead("doctor")
    assert (doctor.code, '"fail"' in doctor.out or "error" in doctor.err) == (row.code, True), doctor.out
    after = _contents(desk.home)
    assert {name: after[name] for name in spoilt} == spoilt, "a file that is not understood is not written to"
    shutil.rmtree(desk.home)
    shutil.copytree(backup, desk.home)
    desk.check_nothing_lost()


def test_spoilt_read_models_are_made_again(desk: Desk) -> None:
    _older_views_gone(desk.home)
    assert desk.playhead("runs").code == 0
    desk.check_nothing_lost()


def test_another_key_shows_the_facts_and_refuses_what_was_signed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.playhead("register", desk.flow("good")).code == 0
    other = MasterKey.random()
    monkeypatch.setenv("PLAYHEAD_KEY", other.export())
    assert desk.playhead("show", "@last").code == 0
    desk.playhead("run", "good").refuses(2, "the key ", f"there is {other.id}", "PLAYHEAD_KEY")
    assert desk.playhead("run", desk.flow("exits")).code == 1
    monkeypatch.delenv("PLAYHEAD_KEY")
    desk.playhead("show", "@last", "--failures").refuses(2, f"the key {other.id} is not here", "PLAYHEAD_KEY")
    desk.check_nothing_lost()


@pytest.mark.parametrize("text", ["nonsense", "/no/such/file"])
def test_a_key_variable_that_holds_no_key_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PLAYHEAD_KEY", text)
    answer = desk.playhead("runs")
    answer.refuses(2, "PLAYHEAD_KEY is neither a key nor the path of a file", "43 characters")
    assert text not in answer.err, "what was meant as a key is not repeated"
    monkeypatch.delenv("PLAYHEAD_KEY")
    desk.check_nothing_lost()


def test_storage_that_was_deleted_is_not_made_anew(desk: Desk) -> None:
    assert desk.playhead("run", desk.flow("good")).code == 0
    storage, away = desk.home / "storage", desk.home / "away"
    storage.rename(away)
    for command in (("run", desk.flow("good")), ("register", desk.flow("good"))):
        desk.playhead(*command).refuses(2, "storage", f"not at {storage.as_uri()} any more", "put it back")
    desk.playhead("logs", "@last").refuses(2, f"not at {storage.as_uri()}", "PLAYHEAD_STORAGE")
    assert desk.playhead("show", "@last").code == 0, "the facts are in the log"
    assert desk.playhead("doctor").code == 2
    assert not storage.exists()
    away.rename(storage)
    assert desk.playhead("run", desk.flow("good")).code == 0
    desk.check_nothing_lost()


def test_another_storage_in_the_place_of_ours_is_refused(desk: Desk) -> None:
    assert desk.playhead("run", desk.flow("good")).code == 0
    marker = desk.home / "storage" / ".playhead-storage"
    ours = marker.read_text()
    marker.write_text("0" * 32)
    desk.playhead("run", desk.flow("good")).refuses(2, "storage", "any more", "storages.json")
    marker.write_text(ours)
    desk.check_nothing_lost()


def test_whoever_means_to_begin_anew_can(desk: Desk) -> None:
    assert desk.playhead("run", desk.flow("good")).code == 0
    shutil.rmtree(desk.home / "storage")
    (desk.home / "storages.json").unlink()
    assert desk.playhead("run", desk.flow("good")).code == 0


def test_a_home_that_cannot_be(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home, said in ((tmp_path / "file", "is a file"), (Path("/proc/nowhere"), "cannot make the home /proc/nowhere")):
        for command in (("runs",), ("run", desk.flow("good"))):
            Desk(home, desk.earlier).playhead(*command).refuses(2, said)
    desk.check_nothing_lost()


def _only_log(home: Path) -> Path:
    """The log's file, with everything in it and nothing beside it."""
    log = home / "log.db"
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in ("log.db-wal", "log.db-shm"):
        (home / name).unlink(missing_ok=True)
    return log


def _changed(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(_only_log(home))) as connection:
        connection.execute(statement)
        connection.commit()


def _contents(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir() if path.name in ("log.db", "key", "config.toml")}
