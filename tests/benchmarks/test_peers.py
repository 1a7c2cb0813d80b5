"""The benchmarks' peers: drivers as processes that end in time, environments that are whole or not there. No peer is installed for it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from benchmarks.harness import Measure, Row
from benchmarks.peers import PEERS, Peer, environments
from benchmarks.peers import __main__ as command
from benchmarks.peers import workplace as at
from benchmarks.peers.asking import PeerError, rows_of
from benchmarks.peers.environments import absence, install

ROW = Row(what="theirs", unit="ms", values=(1.0, 2.0), measure=Measure.CHAIN_STEP)
SECONDS = 20.0  # far more than any of it takes


def script(folder: Path, text: str) -> list[str]:
    path = folder / "driver.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def test_rows_come_as_the_driver_prints_them(tmp_path: Path) -> None:
    line = json.dumps(ROW.as_json())
    told = rows_of(script(tmp_path, f"print({line!r}, flush=True)\ninput()"), tmp_path, SECONDS)
    assert next(told) == ROW
    with pytest.raises(PeerError, match="EOFError"):
        next(told)  # it had no stdin to read


def test_a_driver_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    text = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print({json.dumps(ROW.as_json())!r}.replace("theirs", str(child.pid)), flush=True)
child.wait()
"""
    told = rows_of(script(tmp_path, text), tmp_path, seconds=1.0)
    child = psutil.Process(int(next(told).what))
    with pytest.raises(PeerError, match="had not ended after 1 s"):
        next(told)
    child.wait(SECONDS)


def test_nobody_who_stops_listening_leaves_a_driver_behind(tmp_path: Path) -> None:
    text = f"import os, time\nprint({json.dumps(ROW.as_json())!r}.replace('theirs', str(os.getpid())), flush=True)\ntime.sleep(600)"
    told = rows_of(script(tmp_path, text), tmp_path, SECONDS)
    driver = psutil.Process(int(next(told).what))
    told.close()
    assert not driver.is_running()


def test_a_driver_prints_only_rows_on_stdout(tmp_path: Path) -> None:
    text = """
from benchmarks.harness import Row
from benchmarks.peers import workplace
def ask(effort, folder):
    print("a peer talks")
    yield Row(what=str(folder), unit="ms", values=(float(effort.repeats),))
workplace.drive(ask)
"""
    (row,) = rows_of([sys.executable, "-c", text, "here", "0.5"], tmp_path, SECONDS)
    assert (row.what, row.values) == ("here", (1.0,))


def test_a_workplace_ends_what_was_started_and_all_below_it(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    text = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    inner = f"from benchmarks.peers.workplace import mark\nimport time\nmark({mark!r})\ntime.sleep(600)"
    with at.started([sys.executable, "-c", text, "-c", inner]) as process:
        assert len(at.wait_for_marks(mark, 1, SECONDS)) == 1
        (child,) = process.children()
    assert not process.is_running()
    child.wait(SECONDS)


def test_marks_are_waited_for_in_bounds(tmp_path: Path) -> None:
    path = str(tmp_path / "marks")
    at.mark(path)
    at.mark(path)
    first, second = at.wait_for_marks(path, 2, SECONDS)
    assert first <= second
    with pytest.raises(TimeoutError, match="3 marks"):
        at.wait_for_marks(path, 3, seconds=0.01)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_what_runs_where_playhead_is_not_installed_needs_nothing_of_it(peer: Peer) -> None:
    folder = Path(environments.__file__).parent
    driver, flows = (folder / f"{peer.name}_{part}.py" for part in ("driver", "flows"))
    for path in (driver, flows, folder / "workplace.py", folder / "__init__.py", folder.parent / "harness.py"):
        ours = {name for name in imports(path) if name.split(".")[0] in {"playhead", "benchmarks"}}
        assert ours <= {"benchmarks.harness", "benchmarks.peers", "benchmarks.peers.workplace"}, path.name


def imports(path: Path) -> set[str]:
    tree = list(ast.walk(ast.parse(path.read_text())))
    named = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    return named | {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What an installation would have run, in an empty folder."""
    run: list[str] = []

    def keep(command: Sequence[str]) -> None:
        run.append(" ".join(command))
        if "refused==1" in command:
            raise subprocess.CalledProcessError(1, command)

    def create(home: Path, **_: bool) -> None:
        home.mkdir(parents=True)

    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / "peers")
    monkeypatch.setattr(environments, "_run", keep)
    monkeypatch.setattr("venv.create", create)
    monkeypatch.setattr("shutil.which", str)
    return run


def test_a_peer_is_there_once_all_of_its_installation_is(commands: list[str]) -> None:
    peer = Peer(name="other", title="Other 1", asks="?", requires=("other==1",), node=("other-server@1",))
    assert absence(peer) == "not installed: make bench-peers"
    install(peer)
    assert absence(peer) is None
    assert [("pip install" in line, "npm install" in line) for line in commands] == [(True, False), (False, True)]
    assert commands[0].endswith("psutil>=6 other==1")
    assert commands[1].endswith("other-server@1")
    newer = Peer(name="other", title="Other 2", asks="?", requires=("other==2",))
    assert absence(newer) == "another version is installed: make bench-peers"


def test_one_that_cannot_be_installed_keeps_no_other_from_it(
    commands: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = tuple(Peer(name=name, title=name, asks="?", requires=(f"{name}==1",)) for name in ("refused", "fine"))
    monkeypatch.setattr(command, "PEERS", peers)
    assert command.main([]) == 1
    assert [absence(peer) is None for peer in peers] == [False, True]
    assert "refused: could not be installed" in capsys.readouterr().err
    assert command.main(["fine"]) == 0
    assert "fine: is there" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["unknown"])
