"""The program as a process of its own: what `--help` may import, and a server from its start to Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from playhead import __version__
from playhead.cli.app import app
from tests.cli.conftest import Answer, Call, Runs

SQUARES = f"{Path(__file__).parent / 'sample_flows.py'}:squares"
HEAVY = ("aiohttp", "fastapi", "starlette", "uvicorn", "pydantic", "anyio", "dask", "eventsourcing", "orjson", "rpds")
PATIENCE_SECONDS = 40


def test_help_imports_nothing_of_the_engine() -> None:
    script = "import sys; from playhead.cli.app import run; code = run(['--help']); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    loaded = set(ended.stderr.split())
    assert "playhead.cli.commands.running" in loaded
    assert not loaded.intersection(HEAVY)
    engine = {name for name in loaded if name.startswith("playhead.") and not name.startswith("playhead.cli")}
    assert engine == {"playhead.errors"}
    assert all(command in ended.stdout for command in _commands())


def _commands() -> list[str]:
    named = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    return named + [group.name or "" for group in app.registered_groups if isinstance(group.name, str)]


def test_every_command_that_answers_has_json() -> None:
    assert len(_commands()) == 20
    for command in app.registered_commands:
        assert command.callback is not None
        assert "json" in command.callback.__annotations__, command.callback


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_has_had_enough_is_no_error(runs: Runs, form: list[str]) -> None:
    command = [sys.executable, "-m", "playhead.cli", "events", runs.squares, "--home", str(runs.home), *form]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as nobody_reads:
        ended = subprocess.run(
            command, stdout=nobody_reads, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_version_is_told_without_a_command(call: Call) -> None:
    assert call("--version") == Answer(0, f"playhead {__version__}\n", "")
    assert "Missing command" not in call().err


@pytest.mark.real
def test_a_server_is_found_runs_flows_and_ends_cleanly(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PLAYHEAD_")}
    environment["PLAYHEAD_HOME"] = str(tmp_path)
    playhead = [sys.executable, "-m", "playhead.cli"]

    def ask(*arguments: str, code: int = 0) -> Any:
        command = [*playhead, *arguments, "--json"]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert ended.returncode == code, ended.stderr
        return json.loads(ended.stdout if code == 0 else ended.stderr)

    up = subprocess.Popen(
        [*playhead, "up", "--port", "0", "--json"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert up.stdout is not None
        told = json.loads(up.stdout.readline())
        assert json.loads((tmp_path / "server.json").read_text()) == {"url": told["url"], "pid": up.pid}
        result = ask("run", SQUARES, "-p", "n=2", "--watch")
        assert result["result"] == [{"number": 0, "square": 0}, {"number": 1, "square": 1}]
        assert ask("show", "@last")["agent"] == told["agent"]
        second = ask("up", code=2)["error"]
        assert told["url"] in second["message"]
        up.send_signal(signal.SIGINT)
        assert up.wait(PATIENCE_SECONDS) == 0
    finally:
        up.kill()
        up.wait()
        if up.stdout is not None:
            up.stdout.close()
    assert not (tmp_path / "server.json").exists()
    assert ask("show", "@last")["run_id"] == result["run_id"]  # the log answers without its server
