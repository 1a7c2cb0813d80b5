"""What is typed wrong, and code that does not load: refused before anything is asked for or recorded."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from playhead.cli.app import run as run_program
from tests.bad_input.world import Desk, copied_desk

Words = tuple[str, ...]


@pytest.fixture(scope="module")
def desk(first_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all of these: wrong words leave no trace, however many."""
    return copied_desk(first_desk, tmp_path_factory.mktemp("typed") / "home")


class Row(NamedTuple):
    item: str
    arguments: Callable[[Desk], Words]
    code: int
    said: Words


def _run(flow: str, *more: str) -> Callable[[Desk], Words]:
    return lambda desk: ("run", desk.flow(flow), *more)


def _register(flow: str) -> Callable[[Desk], Words]:
    return lambda desk: ("register", desk.flow(flow))


def _typed(*words: str) -> Callable[[Desk], Words]:
    return lambda _: words


ROWS = [
    Row("unknown flow, by name", _typed("run", "godo"), 2, ("'godo'", "registered", "playhead flows")),
    Row("unknown flow, in a file", _run("godo"), 2, ("wrong_flows.py has no flow 'godo'", "good")),
    Row("unknown flow, no such file", _typed("run", "nowhere.py:good"), 2, ("nowhere.py", "FILE.py:FLOW")),
    Row("unknown flow, no such module", _typed("run", "nowhere:good"), 2, ("'nowhere'", "install it there")),
    Row("unknown flow, in a filter", _typed("runs", "--flow", "godo"), 2, ("no flow named 'godo'", "playhead flows")),
    *(
        Row(f"unknown run, {command}", _typed(command, "fade"), 2, ("no run named 'fade'", "playhead runs"))
        for command in ("show", "events", "logs", "cancel", "replay", "reconcile")
    ),
    Row("unknown run, of a flow", _typed("show", "godo@last"), 2, ("godo@last", "playhead runs")),
    Row("unknown version", _typed("replay", "@last", "--at", "9999"), 2, ("'9999'", "has the versions 1 to")),
    Row("unknown task", _typed("logs", "@last", "--task", "triple"), 2, ("no task named 'triple'", "playhead show")),
    Row("unknown parameter", _run("good", "-p", "m=1"), 2, ("no parameter 'm'", "n: int = 3")),
    Row("parameter of the wrong type", _run("good", "-p", "n=few"), 2, ("parameter 'n' of flow good", "int", "'few'")),
    Row("parameter of the wrong shape", _run("good", "-p", "n=[1]"), 2, ("parameter 'n'", "expected int")),
    Row("parameter without a value", _run("good", "-p", "n"), 2, ("'n' is not a parameter", "NAME=VALUE")),
    Row("parameter of a missing file", _run("good", "-p", "note=@/no/file"), 2, ("/no/file", "No such file", "@FILE")),
    Row(
        "executor whose scheduler does not answer",
        _run("on_a_missing_scheduler"),
        1,
        ("a scheduler at tcp://127.0.0.1:1 within 0.3 s", "--failures"),
    ),
    Row("unknown cron", _register("on_a_bad_cron"), 2, ("'61 6 * * *' does not parse", "five fields")),
    Row("cron that is none", _register("on_no_cron"), 2, ("'every morning'", "five fields")),
    Row(
        "cron that never comes",
        _register("on_a_day_that_never_comes"),
        2,
        ("'0 6 30 2 *' does not parse", "five fields"),
    ),
    Row("unknown time zone", _register("in_no_time_zone"), 2, ("time zone named 'Europe/Atlantis'", "Europe/Paris")),
    Row("no server, by address", _typed("runs", "--server", "http://127.0.0.1:1"), 3, ("refused", "playhead up")),
    Row("no server, for an agent", _typed("agent", "local"), 3, ("no server serves", "playhead up")),
    Row("no server, not an address", _typed("runs", "--server", "moon"), 2, ("'moon'", "http://HOST:PORT")),
    Row("unknown state", _typed("runs", "--state", "happy"), 2, ("'happy'", "succeeded")),
    Row("unknown command", _typed("frobnicate"), 2, ("frobnicate", "playhead --help")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.item)
def test_wrong_words_are_refused(desk: Desk, row: Row) -> None:
    desk.playhead(*row.arguments(desk)).refuses(row.code, *row.said)
    desk.check_nothing_lost()


# What the flow's file holds, and what is said of it.
FILES = [
    ("syntax error", "@flow\ndef f(:\n    pass\n", ("f.py:3", "def f(:", "mend the syntax")),
    ("missing import", "import not_here.at_all\n", ("f.py:2 imports 'not_here'", "not installed here", "install it")),
    ("two flows of one name", '@flow(name="x")\ndef a(): ...\n@flow(name="x")\ndef b(): ...\n', ("two flows named 'x'", "a and b")),
    ("a flow hidden by another", "@flow\ndef a(): ...\n@flow\ndef a(): ...\n", ("line 3 and in line 5", "rename one")),
    ("no flow at all", "def a(): ...\n", ("no flow in f.py", "@flow")),
    ("raises while it loads", "raise ValueError('not today')\n", ("f.py:2", "ValueError", "not today", "top level")),
    ("exits while it loads", "raise SystemExit(0)\n", ("f.py:2", "SystemExit")),
    ("unknown executor", '@flow(executor="threads")\ndef a(): ...\n', ("f.py:2", "executor='threads'", "ThreadExecutor(...)")),
    ("a class as executor", "@flow(executor=ThreadExecutor)\ndef a(): ...\n", ("executor=", "ThreadExecutor(...)")),
    ("unknown run config", '@flow(run_config="docker")\ndef a(): ...\n', ("run_config='docker'", "LocalRun(...)")),
    ("schedule that is none", '@flow(schedule="0 6 * * *")\ndef a(): ...\n', ("schedule='0 6 * * *'", "Cron(...)")),
    ("a generator", "@flow\ndef a():\n    yield 1\n", ("a is a generator", "return a list")),
]  # fmt: skip


@pytest.mark.parametrize(("source", "said"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
@pytest.mark.parametrize("command", ["run", "register"])
def test_code_that_does_not_load_is_refused(desk: Desk, tmp_path: Path, command: str, source: str, said: Words) -> None:
    file = tmp_path / "f.py"
    file.write_text(f"from playhead import ThreadExecutor, flow\n{source}")
    desk.playhead(command, file).refuses(2, *said)
    desk.check_nothing_lost()


def test_a_port_in_use_is_named(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("up", "server"):
            desk.playhead(command, "--port", port).refuses(2, f"port {port} of 127.0.0.1 is in use", "--port 0")
    desk.check_nothing_lost()


def test_a_server_that_is_another_program_is_told_from_ours(desk: Desk) -> None:
    """Something answers there, and not as a Playhead server does."""
    import http.server
    import threading

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        answer = desk.playhead("runs", "--server", f"http://127.0.0.1:{other.server_address[1]}")
        other.shutdown()
    answer.refuses(2, "does not answer as a Playhead server does", "--server")


def test_a_person_gets_the_same_words_without_json(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["run", desk.flow("good"), "-p", "n=few", "--home", str(desk.home)]) == 2
    printed = capsys.readouterr()
    message, *hints = printed.err.splitlines()
    assert message == "error: parameter 'n' of flow good: expected int, got 'few' (str)"
    assert hints
    assert all(hint.startswith("  ") for hint in hints)
    assert printed.out == ""
