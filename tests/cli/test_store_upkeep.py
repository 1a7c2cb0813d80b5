"""`playhead store info|verify|copy|backup` as a shell calls them: on a home's log, for people and for programs."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from playhead.log.sqlite.file import WriterLock
from tests.cli.conftest import Call, Runs


def test_info_of_a_homes_log(call: Call, runs: Runs) -> None:
    told = call("store", "info", "--home", str(runs.home), "--json").json
    assert (told["runs"], told["exact"]) == ({"succeeded": 1, "failed": 1}, True)
    assert sum(told["events"].values()) == told["head"]
    page = call("store", "info", "--home", str(runs.home))
    assert page.code == 0
    assert told["log_id"] in page.out
    assert "task.succeeded" in page.out


def test_a_sound_log_and_one_that_was_changed(call: Call, runs: Runs, tmp_path: Path) -> None:
    answer = call("store", "verify", "--home", str(runs.home))
    assert (answer.code, "nothing is wrong" in answer.out) == (0, True)
    copy = tmp_path / "copy.db"
    assert call("store", "copy", f"sqlite://{runs.home}/log.db", f"sqlite://{copy}").code == 0
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute(
            "UPDATE appends SET recorded_at = recorded_at + 1 WHERE position = (SELECT min(position) FROM appends)"
        )
    answer = call("store", "verify", f"sqlite://{copy}")
    assert (answer.code, "WRONG" in answer.out) == (1, True)
    told = call("store", "verify", f"sqlite://{copy}", "--json")
    assert (told.code, told.json["sound"], told.json["found"]) == (1, False, 1)
    assert {"position", "stream", "version", "what", "hint"} == set(told.json["findings"][0])


def test_a_copy_and_a_backup_are_what_the_log_is(call: Call, runs: Runs, tmp_path: Path) -> None:
    log, copy, file = f"sqlite://{runs.home}/log.db", tmp_path / "copy.db", tmp_path / "backup.db"
    copied = call("store", "copy", log, f"sqlite://{copy}", "--json").json
    backed_up = call("store", "backup", str(file), "--home", str(runs.home), "--json").json
    wanted = call("store", "verify", log, "--json").json
    for other, told in ((copy, copied), (file, backed_up)):
        found = call("store", "verify", f"sqlite://{other}", "--json").json
        assert (told["whole"], told["head"]) == (True, wanted["head"])
        for same in ("log_id", "head", "events", "link", "sound"):
            assert found[same] == wanted[same]
    again = call("store", "backup", str(file), "--home", str(runs.home), "--json")
    assert (again.code, again.error["code"]) == (2, "usage")


def test_a_log_is_not_copied_into_itself(call: Call, runs: Runs) -> None:
    url = f"sqlite://{runs.home}/log.db"
    answer = call("store", "copy", url, url)
    assert (answer.code, answer.out) == (2, "")
    assert "the same log" in answer.err


def test_a_folder_with_the_word_mode_in_its_name_makes_nobody_a_writer(call: Call, runs: Runs, tmp_path: Path) -> None:
    home = tmp_path / "mode=rw"
    shutil.copytree(runs.home, home)
    lock = WriterLock(home / "log.db")
    try:
        assert call("store", "info", f"sqlite://{home}/log.db").code == 0
    finally:
        lock.release()


def test_a_log_that_is_not_there(call: Call, tmp_path: Path) -> None:
    for command in ("info", "verify"):
        answer = call("store", command, f"sqlite://{tmp_path}/none.db", "--json")
        assert (answer.code, "there is no log" in answer.error["message"]) == (3, True)


def test_old_runs_are_told_first_and_removed_when_that_is_said(call: Call, runs: Runs, tmp_path: Path) -> None:
    log, archive = tmp_path / "log.db", tmp_path / "archive.db"
    assert call("store", "copy", f"sqlite://{runs.home}/log.db", f"sqlite://{log}").code == 0
    compact = ("store", "compact", f"sqlite://{log}", "--ended-before")
    assert "no run ended before that" in call(*compact, "90d").out
    told = call(*compact, "0s", "--json").json
    assert (told["done"], {run["run_id"] for run in told["runs"]}) == (False, {runs.squares, runs.breaks})
    assert "would be removed: give --yes" in call(*compact, "0s").out
    assert call("store", "info", f"sqlite://{log}", "--json").json["runs"] == {"succeeded": 1, "failed": 1}

    done = call(*compact, "0s", "--yes", "--archive", str(archive), "--shrink", "--json").json
    assert (done["done"], done["archive"], done["removed"]["runs"]) == (True, str(archive), 2)
    assert done["removed"]["events"] == sum(run["events"] for run in told["runs"])
    assert call("store", "info", f"sqlite://{log}", "--json").json["runs"] == {"forgotten": 2}
    assert call("store", "info", f"sqlite://{archive}", "--json").json["runs"] == {"succeeded": 1, "failed": 1}
    for each in (log, archive):
        assert call("store", "verify", f"sqlite://{each}").code == 0


def test_a_forgotten_run_is_shown_as_that(call: Call, runs: Runs, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(runs.home, home)
    assert call("store", "compact", "--home", str(home), "--ended-before", "0s", "--yes").code == 0
    for more in ((), ("--steps",), ("--failures",)):
        page = call("show", runs.squares, "--home", str(home), *more)
        assert (page.code, page.err) == (0, "")
        assert "forgotten" in page.out
    assert call("show", runs.squares, "--home", str(home), "--json").json["forgotten_at"]
    events = call("events", runs.squares, "--home", str(home))
    assert (events.code, events.out.count("\n"), "run.forgotten" in events.out) == (0, 1, True)
    assert call("runs", "--home", str(home), "--json").json == []


def test_a_log_that_is_served_is_not_compacted(call: Call, runs: Runs) -> None:
    lock = WriterLock(runs.home / "log.db")
    try:
        compact = ("store", "compact", "--home", str(runs.home), "--ended-before", "0s", "--json")
        assert call(*compact).json["done"] is False, "to look does not need it"
        refused = call(*compact, "--yes")
        assert (refused.code, "locked by another writer" in refused.error["message"]) == (3, True)
        assert call("store", "compact", "--ended-before", "soon", "--json").code == 2
    finally:
        lock.release()
