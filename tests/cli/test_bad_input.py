"""Bad input: each kind has a message that says what is wrong, a hint what to do, and the code that a script can go by."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from playhead.cli.exits import ExitCode, code_of
from playhead.errors import (
    FlowRunCancelled,
    FlowRunCrashed,
    FlowRunFailed,
    LogUnusable,
    NotFound,
    PlayheadError,
    ServerUnreachable,
    StorageLost,
    TrustError,
)
from tests.cli.conftest import Call, Runs

SQUARES = f"{Path(__file__).parent / 'sample_flows.py'}:squares"

# arguments (a home is added), exit code, a part of the message, a part of the hint
WRONG: list[tuple[tuple[str, ...], int, str, str]] = [
    (("frobnicate",), 2, "No such command", "--help"),
    (("show",), 2, "Missing argument 'RUN'", "playhead show --help"),
    (("runs", "--limit", "0"), 2, "--limit", "--help"),
    (("show", "zz"), 2, "does not name a run", "@last"),
    (("show", "abc"), 2, "no run named 'abc'", "playhead runs"),
    (("show", "0" * 32), 2, "no run", "playhead runs"),
    (("show", "@last"), 2, "no run", "playhead runs"),
    (("logs", "@last-failed"), 2, "no run", "playhead runs"),
    (("cancel", "0" * 32), 2, "no run", "playhead runs"),
    (("replay", "nothing@last"), 2, "no run", "playhead runs"),
    (("events",), 2, "the events of what?", "--all"),
    (("events", "@last", "--all"), 2, "the events of what?", "--all"),
    (("runs", "--state", "happy"), 2, "not a state", "succeeded"),
    (("runs", "--since", "yesterday"), 2, "neither a span nor a time", "2h"),
    (("runs", "--flow", "a b"), 2, "cannot be the name of a flow", "letters"),
    (("runs", "--flow", "nothing"), 2, "no flow named 'nothing'", ""),
    (("run", "nothing"), 2, "neither code nor a flow that is registered", "playhead flows"),
    (("run", "nothing.py:f"), 2, "nothing.py", ""),
    (("run", "no_such_module_here:f"), 2, "no_such_module_here", ""),
    (("run", SQUARES.replace(":squares", ":circles")), 2, "circles", "squares"),
    (("run", SQUARES.replace(":squares", "")), 2, "several flows", ":breaks"),
    (("run", SQUARES, "-p", "m=1"), 2, "no parameter 'm'", "n: int"),
    (("run", SQUARES, "-p", "n=many"), 2, "parameter 'n'", "integer"),
    (("run", SQUARES, "-p", "n"), 2, "'n' is not a parameter", "NAME=VALUE"),
    (("run", SQUARES, "-p", "n=1", "-p", "n=2"), 2, "given twice", ""),
    (("run", SQUARES, "-p", "n=@/no/such/file"), 2, "cannot be read", "JSON"),
    (("runs", "--server", "http://127.0.0.1:1"), 3, "cannot be reached", "playhead up"),
    (("run", SQUARES, "--server", "http://127.0.0.1:1"), 3, "cannot be reached", "playhead up"),
    (("agent", "local"), 3, "no server serves the home", "playhead up"),
    (("runs", "--server", "carrier-pigeon"), 2, "carrier-pigeon", "http://"),
    (("up", "--port", "70000"), 2, "--port", "--help"),
    (("up", "--host", "no host", "--port", "0"), 2, "no host", "127.0.0.1"),
]


@pytest.mark.parametrize(("arguments", "code", "message", "hint"), WRONG, ids=[" ".join(row[0])[-60:] for row in WRONG])
def test_wrong_use(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
    hint: str,
) -> None:
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    answer = call(*arguments, "--json")
    assert answer.code == code, answer.err
    assert message in answer.error["message"]
    assert hint in (answer.error["hint"] or "")
    assert "Traceback" not in answer.err


def test_a_person_reads_the_message_and_then_what_to_do(call: Call, tmp_path: Path) -> None:
    answer = call("show", "@last", "--home", tmp_path)
    first, second = answer.err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  ")
    assert answer.out == ""


def _not_a_log(home: Path) -> None:
    (home / "log.db").write_bytes(b"a diary, not a log" * 100)


def _cut_short(home: Path) -> None:
    os.truncate(home / "log.db", 5000)


def _no_key(home: Path) -> None:
    (home / "key").write_text("nonsense")


def _unknown_setting(home: Path) -> None:
    (home / "config.toml").write_text('storrage = "/x"')


SPOILT: list[tuple[Callable[[Path], None], int, str]] = [
    (_not_a_log, 3, "log.db"),
    (_cut_short, 3, "log.db"),
    (_no_key, 2, "key"),
    (_unknown_setting, 2, "storrage"),
]


@pytest.mark.parametrize(("spoil", "code", "message"), SPOILT)
def test_a_spoilt_home(call: Call, tmp_path: Path, spoil: Callable[[Path], None], code: int, message: str) -> None:
    assert call("run", SQUARES, "--home", tmp_path).code == 0
    spoil(tmp_path)
    answer = call("runs", "--json", "--home", tmp_path)
    assert answer.code == code, answer.err
    assert message in answer.error["message"]
    assert answer.error["hint"]


def test_a_home_that_is_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = call("runs", "--json", "--home", tmp_path / "file")
    assert (answer.code, "is a file" in answer.error["message"]) == (2, True)


def test_another_key_shows_the_facts_and_refuses_the_texts(
    call: Call, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_KEY", "A" * 43)
    assert call("show", runs.breaks, "--json", "--home", runs.home).json["state"] == "failed"
    answer = call("show", runs.breaks, "--failures", "--json", "--home", runs.home)
    assert (answer.code, answer.error["code"]) == (2, "trust")


def test_storage_that_was_deleted(call: Call, tmp_path: Path) -> None:
    assert call("run", SQUARES, "--home", tmp_path).code == 0
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    answer = call("logs", "@last", "--json", "--home", tmp_path)
    assert (answer.code, answer.error["code"]) == (2, "storage_lost")
    assert call("show", "@last", "--home", tmp_path).code == 0  # the facts are still there


def test_a_port_in_use(call: Call, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = call("up", "--port", port, "--json", "--home", tmp_path)
    assert (answer.code, f"port {port}" in answer.error["message"]) == (2, True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FlowRunFailed("r", None, None), ExitCode.FAILED),
        (FlowRunCancelled("r"), ExitCode.ENDED_EARLY),
        (FlowRunCrashed("r", "losses"), ExitCode.ENDED_EARLY),
        (NotFound("run", "x"), ExitCode.WRONG_USE),
        (TrustError("x"), ExitCode.WRONG_USE),
        (StorageLost("x"), ExitCode.WRONG_USE),
        (ServerUnreachable("x"), ExitCode.NO_SERVER),
        (LogUnusable("x"), ExitCode.NO_SERVER),
    ],
)
def test_exit_codes(error: PlayheadError, code: ExitCode) -> None:
    assert code_of(error) is code
