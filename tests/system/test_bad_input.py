"""Bad input that needs an engine, a process of its own, or a disk of its own: through server, agent and runner, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from playhead import FlowRunCrashed
from tests.bad_input.world import FLOWS, RESULT, Earlier, read_back
from tests.system.machine import PLAYHEAD, Machine, machine

pytestmark = pytest.mark.real

DISK_BYTES: Final = 1_500_000  # of the small disk: room for a home with a run in it
Words = tuple[str, ...]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One engine for all rows, which it must outlive."""
    with machine(tmp_path_factory.mktemp("served")) as host:
        host.up()
        yield host


@pytest.fixture(scope="module")
def earlier(served: Machine) -> Earlier:
    """A run that was acknowledged before anything went wrong."""
    return _ran_well(served)


class Row(NamedTuple):
    flow: str
    code: int
    state: str
    said: Words


ROWS = [
    Row("exits", 1, "failed", ("SystemExit: 5", "--failures")),
    Row("raises_base", 1, "failed", ("Unusual: very unusual", "--failures")),
    Row("interrupts", 4, "cancelled", ("was cancelled",)),
    Row("exits_hard", 4, "crashed", ("lost 3 times", "exit code 17", "--steps")),
    Row("segfault_in_thread", 4, "crashed", ("lost 3 times", "SIGSEGV", "--steps")),
    Row("segfault_here", 4, "crashed", ("lost 3 times", "SIGSEGV", "--steps")),
    Row("segfault_in_worker", 1, "failed", ("in task crash", "lost its worker 3 times", "SIGSEGV")),
    Row("task_exits", 1, "failed", ("in task exit_in_task", "SystemExit: 3")),
    Row("task_raises_base", 1, "failed", ("in task raise_base_in_task", "Unusual")),
    Row("task_gives_a_lock", 1, "failed", ("in task a_lock", "value['lock'] is a _thread.lock", "plain data")),
    Row("task_gives_one_way", 1, "failed", ("result of task one_way", "no way back", "__reduce__")),
    Row("gives_a_lock", 1, "failed", ("_thread.lock", "plain data")),
    Row("gives_one_way", 2, "succeeded", ("result of flow run", "no way back", "__reduce__")),
    Row("task_raises_unpicklable", 1, "failed", ("in task raise_held", "the door is locked", "itself is lost")),
    Row("task_raises_one_way", 1, "failed", ("TwoParts: orders has a bad row 7", "--failures")),
    Row("submits_in_a_thread", 1, "failed", ("thread that the flow started", "playhead.scope")),
    Row("on_a_missing_scheduler", 1, "failed", ("a scheduler at tcp://127.0.0.1:1 within 0.3 s", "--failures")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.flow)
def test_a_flow_that_does_wrong_ends_with_a_code_and_words(served: Machine, earlier: Earlier, row: Row) -> None:
    _refused(served.playhead("run", f"{FLOWS}:{row.flow}", "--json", check=False), row.code, *row.said)
    run = served.json("runs", "--flow", row.flow)[0]
    assert run["state"] == row.state
    _nothing_lost(served, earlier)


def test_an_engine_goes_on_after_all_of_it(served: Machine, earlier: Earlier) -> None:
    assert served.json("run", f"{FLOWS}:good")["result"] == RESULT
    _nothing_lost(served, earlier)


def test_a_second_server_for_a_home_or_a_port_is_refused(served: Machine, earlier: Earlier, tmp_path: Path) -> None:
    port = served.url().rpartition(":")[2]
    _refused(served.playhead("up", "--json", check=False), 2, "already", served.url(), "--home")
    other = served.playhead("up", "--port", port, "--home", str(tmp_path), "--json", check=False)
    _refused(other, 2, f"port {port}", "in use", "--port 0")
    _nothing_lost(served, earlier)


def test_a_schedule_that_is_none_registers_nothing(served: Machine, earlier: Earlier) -> None:
    for flow, said in (("in_no_time_zone", "'Europe/Atlantis'"), ("on_a_bad_cron", "'61 6 * * *'")):
        _refused(served.playhead("register", f"{FLOWS}:{flow}", "--json", check=False), 2, said)
        assert flow not in [known["registered"]["flow"] for known in served.json("flows")]
    _nothing_lost(served, earlier)


def test_another_key_asks_for_nothing(served: Machine, earlier: Earlier, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(served.json("runs", "--limit", "1000"))
    monkeypatch.setitem(served.env, "PLAYHEAD_KEY", "A" * 43)
    _refused(served.playhead("run", "good", "--json", check=False), 2, "is not here", "PLAYHEAD_KEY")
    monkeypatch.undo()
    assert len(served.json("runs", "--limit", "1000")) == before
    _nothing_lost(served, earlier)


def test_storage_that_was_deleted_is_told_and_works_when_it_is_back(host: Machine) -> None:
    host.up()
    earlier = _ran_well(host)
    storage, away = host.home / "storage", host.home / "away"
    storage.rename(away)
    for target, said in ((f"{FLOWS}:good", "put it back"), ("good", "restore it from a backup")):
        _refused(host.playhead("run", target, "--json", check=False), 2, "storage", storage.as_uri(), said)
    assert host.show(earlier.view.run_id)["state"] == "succeeded"
    assert not storage.exists()
    away.rename(storage)
    assert host.json("run", "good")["result"] == RESULT
    _nothing_lost(host, earlier)


def test_a_server_that_is_gone_is_told(host: Machine) -> None:
    up = host.up()
    url = host.url()
    earlier = _ran_well(host)
    host.kill(up)
    for command in (("runs",), ("run", "good"), ("agent", "local")):
        _refused(host.playhead(*command, "--server", url, "--json", check=False), 3, url, "playhead up")
    _nothing_lost(host, earlier)


@pytest.mark.parametrize(("flow", "code"), [("exits_hard", 17), ("segfault_here", -signal.SIGSEGV)])
def test_a_program_that_dies_with_its_flow_loses_nothing_that_was_recorded(host: Machine, flow: str, code: int) -> None:
    """No word can be said then; the home is free at once, and what the flow had done is in it."""
    assert host.json("run", f"{FLOWS}:good", "--embedded")["result"] == RESULT
    first = asyncio.run(read_back(host.home, host.json("runs")[0]["run_id"]))
    assert host.playhead("run", f"{FLOWS}:{flow}", "--embedded", check=False).returncode == code
    assert host.json("run", f"{FLOWS}:good", "--embedded")["result"] == RESULT
    _nothing_lost(host, first)
    host.env["PLAYHEAD_LEASE_SECONDS"] = "1.5"
    up = host.up()
    died = host.json("runs", "--flow", flow)[0]["run_id"]
    assert host.ended(died)["crash"] == "embedding_ended"
    assert host.end(up) == 0
    with pytest.raises(FlowRunCrashed, match="the program that ran it ended before the run did"):
        asyncio.run(read_back(host.home, died))


# --- disks -----------------------------------------------------------------------------------------------------------


def test_a_read_only_home_is_refused_and_reads_when_it_is_not(host: Machine) -> None:
    """As the administrator too, whom no file's mode keeps from writing: the home is mounted read-only."""
    earlier = _ran_here(host)
    mounted = f"mount --bind {host.home} {host.home} && mount -o remount,bind,ro {host.home}"
    for command in (("runs",), ("run", f"{FLOWS}:good"), ("register", f"{FLOWS}:good"), ("up", "--port", "0")):
        done = _in_own_mounts(host, mounted, _typed(*command))
        _refused(done, 3, f"the home {host.home} cannot be written", "Read-only", "PLAYHEAD_HOME")
    _nothing_lost(host, earlier)


def test_a_full_home_is_told_and_works_when_there_is_room(host: Machine) -> None:
    """A small disk that is filled up, and then has room again; all of it in one namespace, as it ends with it."""
    disk = host.home / "disk"
    disk.mkdir()
    host.env["PLAYHEAD_HOME"] = str(disk)
    good = _typed("run", f"{FLOWS}:good")
    script = f"""
        {good} || exit 100
        dd if=/dev/zero of={disk}/filling bs=4096 2>/dev/null
        {good} 2>{host.home}/full; echo $? >>{host.home}/codes
        rm {disk}/filling
        {good} >{host.home}/again; echo $? >>{host.home}/codes
        {_typed("runs")} >{host.home}/runs
    """
    mounted = f"mount -t tmpfs -o size={DISK_BYTES} none {disk}"
    done = _in_own_mounts(host, mounted, script)
    assert done.returncode == 0, done.stderr
    assert (host.home / "codes").read_text().split() == ["3", "0"]
    error = json.loads((host.home / "full").read_text().splitlines()[-1])["error"]
    assert "is full" in error["message"]
    assert "make room" in error["hint"]
    assert json.loads((host.home / "again").read_text())["result"] == RESULT
    runs = json.loads((host.home / "runs").read_text())
    assert [run["state"] for run in runs if run["state"] == "succeeded"] == ["succeeded"] * 2


def test_a_file_that_may_not_grow_fails_the_run_and_not_the_one_before(host: Machine) -> None:
    """The run's journal meets the limit of its user; the runs that were acknowledged are as they were."""
    earlier = _ran_here(host)
    limit = 4 + max(path.stat().st_size for path in host.home.rglob("*")) // 1024

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit * 1024, limit * 1024))

    done = subprocess.run(
        [*PLAYHEAD, "run", f"{FLOWS}:good", "-p", "n=2000", "--json"],
        env=host.env, capture_output=True, text=True, timeout=60, preexec_fn=limited,
    )  # fmt: skip
    _refused(done, 2, "File too large", "free some space")
    _nothing_lost(host, earlier)


def _typed(*words: str) -> str:
    return " ".join([*PLAYHEAD, *words, "--json"])


def _in_own_mounts(host: Machine, mounted: str, script: str) -> Done:
    """Run the script where only it sees these mounts. Skips the test where that is not allowed."""
    probe = subprocess.run(["unshare", "-m", "sh", "-c", mounted], env=host.env, capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("mounts in a namespace of one's own are not allowed here")
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mounted} && {{ {script}\n}}"],
        env=host.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- what is asserted ----------------------------------------------------------------------------------------------------


def _ran_well(host: Machine) -> Earlier:
    return _read(host, host.json("run", f"{FLOWS}:good"))


def _ran_here(host: Machine) -> Earlier:
    return _read(host, host.json("run", f"{FLOWS}:good", "--embedded"))


def _read(host: Machine, done: dict[str, Any]) -> Earlier:
    assert done["result"] == RESULT
    earlier = asyncio.run(read_back(host.home, done["run_id"]))
    assert (earlier.view.state, earlier.result) == ("succeeded", RESULT)
    return earlier


def _nothing_lost(host: Machine, earlier: Earlier) -> None:
    assert asyncio.run(read_back(host.home, earlier.view.run_id)) == earlier


def _refused(done: Done, code: int, *said: str) -> None:
    """It ended with this code, and the last line of its errors is one of ours that says all of this."""
    assert done.returncode == code, f"exit code {done.returncode}: {done.stderr or done.stdout}"
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    told = f"{error['message']}\n{error['hint'] or ''}"
    for words in said:
        assert words in told, f"{words!r} is not in what it says: {told}"
    assert "Traceback" not in done.stderr
    assert error["code"] != "defect"
