"""The commands over a home with two runs in it: the shapes of their JSON, what they select, and what people read."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pytest

from playhead.cli.rendering.tables import ID_DIGITS
from playhead.core.names import Epoch, RunId
from playhead.embedded import run_embedded
from playhead.home import Home
from playhead.journal.place import JournalPlace
from playhead.journal.report import keep_report
from playhead.settings import Settings
from tests.cli import sample_flows
from tests.cli.conftest import Answer, Call, Runs

SHOWN = {
    "run_id", "flow", "state", "attempt", "scheduled_for", "started_at", "ended_at", "agent", "executor", "run_config",
    "labels", "tasks",
}  # fmt: skip
SHOWN_TASK = {"key", "name", "state", "attempt", "upstream", "started_at", "ended_at", "error"}
EVENT = {"position", "stream", "version", "type", "schema", "actor", "epoch", "recorded_at", "data"}

HERE = Path(__file__).parent / "sample_flows.py"


def lines(answer: Answer) -> list[dict[str, object]]:
    assert answer.code == 0, answer.err
    return [json.loads(line) for line in answer.out.splitlines()]


# --- show and replay --------------------------------------------------------------------------------------------------


def test_show_has_the_promised_shape(call: Call, runs: Runs) -> None:
    shown = call("show", runs.squares, "--json", "--home", runs.home).json
    assert shown.keys() >= SHOWN
    assert all(task.keys() >= SHOWN_TASK for task in shown["tasks"])
    assert (shown["run_id"], shown["flow"], shown["state"]) == (runs.squares, "squares", "succeeded")
    assert [task["key"] for task in shown["tasks"]] == ["second_time", *(f"square.{index}" for index in range(12))]
    assert shown["tasks"][0]["attempt"] == 2


@pytest.mark.parametrize("version", [1, 5, 9])
def test_replay_has_the_shape_of_show_at_any_version(call: Call, runs: Runs, version: int) -> None:
    shown = call("show", runs.squares, "--json", "--home", runs.home).json
    then = call("replay", runs.squares, "--at", version, "--json", "--home", runs.home).json
    assert then.keys() == shown.keys()
    assert then["version"] == version
    assert then["state"] == {1: "scheduled", 5: "running", 9: "running"}[version]


def test_replay_to_the_end_is_what_the_server_shows(call: Call, runs: Runs) -> None:
    shown = call("show", runs.squares, "--json", "--home", runs.home).json
    assert call("replay", runs.squares, "--json", "--home", runs.home).json == shown


def test_replay_marks_where_it_stands_among_the_events(call: Call, runs: Runs) -> None:
    answer = call("replay", runs.squares, "--at", "4", "--home", runs.home)
    before, marker, after = answer.out.partition("▶ the run at version 4, ")
    assert marker
    assert before.count("run.") == 4
    assert "more came after it" in after
    assert f"squares  {runs.squares}  running" in after


def test_failures_are_read_from_storage_with_their_traceback(call: Call, runs: Runs) -> None:
    page = call("show", runs.breaks, "--failures", "--home", runs.home).out
    assert "task bad, attempt 1  KeyError: '[red]bad[/red] at 7'" in page
    assert "sample_flows.py" in page
    shape = call("show", runs.breaks, "--failures", "--json", "--home", runs.home).json
    assert "Traceback" in shape["tasks"][0]["error"]["traceback"]
    assert shape["failed_task"] == "bad"


def test_show_tells_why_a_run_failed_without_being_asked_but_not_its_traceback(call: Call, runs: Runs) -> None:
    assert "failed in task bad: KeyError" in call("show", runs.breaks, "--home", runs.home).out
    assert call("show", runs.breaks, "--json", "--home", runs.home).json["error"]["traceback"] is None


def test_steps_have_a_lane_for_each_of_the_four(call: Call, runs: Runs) -> None:
    page = call("show", runs.squares, "--steps", "--home", runs.home).out
    assert all(lane in page for lane in ("SERVER", "AGENT", "RUNNER", "EXECUTOR"))
    assert "square.*  succeeded  ×12" in page
    steps = call("show", runs.squares, "--steps", "--json", "--home", runs.home).json["steps"]
    assert {step["lane"] for step in steps} == {"server", "agent", "runner", "executor"}


# --- which run is meant ---------------------------------------------------------------------------------------------


def test_a_run_is_named_by_id_prefix_or_place(call: Call, runs: Runs) -> None:
    for text, meant in (
        (runs.squares, runs.squares),
        (runs.squares[:ID_DIGITS], runs.squares),
        (runs.squares.upper(), runs.squares),
        ("@last", runs.breaks),
        ("@last-failed", runs.breaks),
        ("squares@last", runs.squares),
    ):
        assert call("show", text, "--json", "--home", runs.home).json["run_id"] == meant, text


# --- lists ----------------------------------------------------------------------------------------------------------


def test_runs_are_filtered_by_state_flow_and_time(call: Call, runs: Runs) -> None:
    def found(*options: object) -> list[str]:
        return [row["run_id"] for row in call("runs", "--json", "--home", runs.home, *options).json]

    assert found() == [runs.breaks, runs.squares]
    assert found("--state", "failed") == [runs.breaks]
    assert found("--state", "failed", "--state", "succeeded") == [runs.breaks, runs.squares]
    assert found("--flow", "squares") == [runs.squares]
    assert found("--since", "1h") == [runs.breaks, runs.squares]
    assert found("--since", "2100-01-01") == []
    assert found("--limit", "1") == [runs.breaks]


def test_a_table_of_runs_has_short_ids_that_are_enough(call: Call, runs: Runs) -> None:
    table = call("runs", "--home", runs.home).out
    assert runs.squares[:ID_DIGITS] in table
    assert runs.squares not in table
    assert "13 succeeded" in table


def test_an_empty_home_gives_empty_lists_and_says_what_to_do(call: Call, tmp_path: Path) -> None:
    for command, hint in (("runs", "no run fits"), ("flows", "playhead register"), ("agents", "playhead up")):
        answer = call(command, "--home", tmp_path / "new")
        assert (answer.code, answer.out) == (0, "")
        assert hint in answer.err
        assert call(command, "--json", "--home", tmp_path / "new").json == []


def test_why_says_what_a_run_waits_for(call: Call, runs: Runs) -> None:
    """An embedded run that has ended waits for nothing; runs that wait are asked about with real servers and agents."""
    answer = call("why", runs.squares, "--home", runs.home)
    assert answer.code == 0
    assert "it has ended: succeeded" in answer.out
    told = call("why", runs.squares, "--json", "--home", runs.home).json
    assert (told["run_id"], told["waits_for"], told["help"]) == (runs.squares, "nothing", None)
    wrong = call("why", runs.squares, "--task", "nothing", "--home", runs.home)
    assert wrong.code == 2
    assert "no task named 'nothing'" in wrong.err


# --- events and logs ------------------------------------------------------------------------------------------------


def test_events_are_lines_of_json_in_order(call: Call, runs: Runs) -> None:
    events = lines(call("events", runs.squares, "--json", "--home", runs.home))
    assert all(event.keys() >= EVENT for event in events)
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("run.scheduled", "run.succeeded")
    assert str(events[0]["recorded_at"]).endswith("Z")


def test_following_a_run_that_has_ended_ends_too(call: Call, runs: Runs) -> None:
    once = call("events", runs.squares, "--json", "--home", runs.home)
    assert call("events", runs.squares, "--follow", "--json", "--home", runs.home).out == once.out


def test_all_events_are_those_of_every_stream(call: Call, runs: Runs) -> None:
    events = lines(call("events", "--all", "--json", "--home", runs.home))
    positions = [event["position"] for event in events]
    assert positions == sorted(positions, key=lambda position: int(str(position)))
    assert {event["stream"] for event in events} == {f"default/run/{run}" for run in (runs.squares, runs.breaks)}
    page = call("events", "--all", "--home", runs.home).out
    assert len(page.splitlines()) == len(events)


def test_logs_are_read_from_storage_whole_or_of_one_task(call: Call, runs: Runs) -> None:
    assert len(call("logs", runs.squares, "--home", runs.home).out.splitlines()) == 12
    (line,) = lines(call("logs", runs.squares, "--task", "square.3", "--json", "--home", runs.home))
    assert (line["task"], line["message"], line["level"]) == ("square.3", "squaring 3", "INFO")
    assert "nothing was logged" in call("logs", runs.breaks, "--home", runs.home).err


def test_a_report_is_read_from_storage_verified_and_printed_as_it_is(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "home"
    home = Home.open(Settings.load({"home": path}, env={}), env={})
    begun: list[str] = []
    run_embedded(sample_flows.squares, {"n": 2}, home=home, on_started=begun.append)
    none = call("report", begun[0], "--home", path)
    assert none.code == 2
    assert "no executor's report of a run" in none.err
    assert "performance_report=True" in none.err

    (claim,) = [
        event for event in lines(call("events", begun[0], "--json", "--home", path)) if event["type"] == "run.claimed"
    ]
    data = cast("dict[str, Any]", claim["data"])
    place = JournalPlace(RunId(begun[0]), Epoch(data["epoch"]), data["grant"])
    key = home.keys.run_key(begun[0])
    page = "<html>drawn\u00fc</html>"
    keep_report(home.storage, place, key, page, encrypt=False)
    assert call("report", begun[0], "--home", path).out == page
    assert call("report", begun[0], "--json", "--home", path).json == {"run_id": begun[0], "html": page}


# --- register, run and cancel ---------------------------------------------------------------------------------------


def test_without_a_server_a_run_is_here_and_its_result_is_printed(call: Call, tmp_path: Path) -> None:
    answer = call("run", f"{HERE}:squares", "-p", "n=2", "--home", tmp_path / "home")
    assert (answer.code, answer.out) == (0, "number  square\n     0       0\n     1       1\n")


def test_the_json_of_a_run(call: Call, tmp_path: Path) -> None:
    good = call("run", f"{HERE}:squares", "-p", "n=1", "--json", "--home", tmp_path / "home")
    assert good.json.keys() == {"run_id", "flow", "state", "result"}
    assert (good.json["state"], good.json["result"]) == ("succeeded", [{"number": 0, "square": 0}])
    bad = call("run", f"{HERE}:breaks", "--json", "--home", tmp_path / "home")
    assert (bad.code, bad.json["state"], bad.json["result"]) == (1, "failed", None)
    assert bad.error["code"] == "flow_run_failed"
    assert "in task bad: KeyError" in bad.error["message"]


def test_watching_draws_on_stderr_and_leaves_stdout_to_the_result(call: Call, tmp_path: Path) -> None:
    answer = call("run", f"{HERE}:squares", "-p", "n=9", "--watch", "--json", "--home", tmp_path / "home")
    assert answer.json["state"] == "succeeded"
    assert "squares: succeeded" in answer.err
    assert "square: 9 of 9" in answer.err


def test_a_registered_flow_is_run_by_its_name(call: Call, tmp_path: Path) -> None:
    home = tmp_path / "home"
    registered = call("register", f"{HERE}:squares", "--json", "--home", home).json
    assert registered["registered"]["sealed_by"] == "file"
    assert "squares" in call("flows", "--home", home).out
    assert call("run", "squares", "-p", "n=1", "--home", home).out == "number  square\n     0       0\n"


def test_a_parameter_may_be_in_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text("1\n")
    answer = call("run", f"{HERE}:squares", "-p", f"n=@{tmp_path / 'n.json'}", "--json", "--home", tmp_path / "home")
    assert len(answer.json["result"]) == 1


def test_cancelling_a_run_that_has_ended_says_how_it_ended(call: Call, runs: Runs) -> None:
    answer = call("cancel", runs.squares, "--home", runs.home)
    assert (answer.code, answer.out) == (0, f"run {runs.squares} is succeeded\n")


# --- doctor and key -------------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_sound_home_and_says_that_nobody_serves_it(call: Call, runs: Runs) -> None:
    answer = call("doctor", "--json", "--home", runs.home)
    health = {found["part"]: found["health"] for found in answer.json}
    assert answer.code == 0
    assert health.pop("server") == "warn"
    assert set(health.values()) == {"ok"}
    assert {"python", "packages", "home", "key", "storage", "store", "log"} <= health.keys()


def test_the_doctor_makes_nothing_in_a_home_that_is_not_there(call: Call, tmp_path: Path) -> None:
    answer = call("doctor", "--home", tmp_path / "none")
    assert answer.code == 0
    assert not (tmp_path / "none").exists()


def test_the_doctor_says_what_to_do_about_a_damaged_log_and_a_lost_server(call: Call, tmp_path: Path) -> None:
    call("runs", "--home", tmp_path)
    (tmp_path / "log.db").write_bytes(b"nothing of ours" * 100)
    damaged = call("doctor", "--json", "--home", tmp_path)
    assert damaged.code == 3
    (log,) = [found for found in damaged.json if found["part"] == "log"]
    assert log["health"] == "fail"
    assert log["todo"]
    unreachable = call("doctor", "--json", "--home", tmp_path, "--server", "http://127.0.0.1:1")
    assert unreachable.code == 3
    assert [found["part"] for found in unreachable.json if found["health"] == "fail"] == ["server"]


def test_the_doctor_names_the_store_and_who_brings_it(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(url: str) -> tuple[str, str]:
        monkeypatch.setenv("PLAYHEAD_STORE", url)
        (store,) = [found for found in call("doctor", "--json", "--home", tmp_path).json if found["part"] == "store"]
        return store["health"], store["text"]

    assert told("sqlite:x.db?secret=hunter2") == ("ok", f"sqlite:x.db?secret=***, by playhead {version('playhead')}")
    assert told("my_stores:open_url") == ("ok", "my_stores:open_url, by the function my_stores:open_url")
    assert told("postgers://me:hunter2@host/db") == ("fail", "'postgers://me:***@host/db' names no event store")


def test_the_key_is_named_and_never_shown(call: Call, runs: Runs) -> None:
    secret = (runs.home / "key").read_text().split()[-1]
    for answer in (call("key", "show", "--home", runs.home), call("key", "show", "--json", "--home", runs.home)):
        assert answer.code == 0
        assert secret not in answer.out
    assert (
        call("doctor", "--home", runs.home).out.count(call("key", "show", "--json", "--home", runs.home).json["key_id"])
        == 1
    )
