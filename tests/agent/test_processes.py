"""The local infrastructure with real processes: starting, watching, ending, and finding them again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from playhead.agent import folder as folder_module
from playhead.agent import proc
from playhead.agent.folder import ProcessRecord, keep_within_bounds
from playhead.agent.infrastructure import Exit, LostSight
from playhead.agent.processes import ProcessInfrastructure
from playhead.agent.runner_process import ChildProcess
from playhead.errors import LaunchFailed
from playhead.runner.bootstrap import RunnerOrder
from playhead.testing.gates import Gate
from tests.agent.stand_ins import an_order, stand_in

ORDER = an_order()
FOLDER = f"{ORDER.run}-{ORDER.epoch}"


def processes(folder: Path, body: str, gate: Gate | None = None, **environment: str) -> ProcessInfrastructure:
    given = {"PATH": os.environ["PATH"], **environment}
    if gate is not None:
        given["GATE"] = str(gate.port)
    return ProcessInfrastructure(folder, command=stand_in(body), environment=given)


@pytest.mark.parametrize(
    ("body", "end"),
    [
        ("", Exit(exit_code=0)),
        ("sys.exit(3)", Exit(exit_code=3)),
        ("os._exit(255)", Exit(exit_code=255)),
        ("raise ValueError", Exit(exit_code=1)),
        ("os.kill(os.getpid(), signal.SIGKILL)", Exit(signal=9)),
        ("signal.signal(signal.SIGSEGV, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGSEGV)", Exit(signal=11)),
    ],
)
async def test_the_end_of_a_runner_is_seen_with_code_or_signal(tmp_path: Path, body: str, end: Exit) -> None:
    launched = await processes(tmp_path, body).launch(ORDER)
    assert await launched.wait() == end
    assert await launched.wait() == end


async def test_a_runner_that_ended_before_it_was_watched_is_seen(tmp_path: Path) -> None:
    launched = await processes(tmp_path, "os._exit(7)").launch(ORDER)
    assert isinstance(launched, ChildProcess)
    os.waitid(os.P_PID, launched.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has looked
    assert await launched.wait() == Exit(exit_code=7)


async def test_the_end_is_seen_where_there_is_no_pidfd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    launched = await processes(tmp_path, "sys.exit(3)").launch(ORDER)
    assert await launched.wait() == Exit(exit_code=3)


async def test_a_runner_gets_its_order_and_little_else(tmp_path: Path) -> None:
    body = """
print(json.dumps({
    "order": order, "cwd": os.getcwd(), "argv": sys.argv[1:], "environment": dict(os.environ),
    "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
    "open": sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)),
}))
"""
    with (tmp_path / "kept open").open("wb") as other:
        os.set_inheritable(other.fileno(), True)
        given = processes(tmp_path, body, PLAYHEAD_KEY="the master key", PYTHONPATH="/theirs", HOME="/home/u")
        launched = await given.launch(ORDER)
        await launched.wait()
    said = json.loads((tmp_path / FOLDER / "stdout").read_text())
    assert said["order"] == json.loads(ORDER.model_dump_json(exclude_defaults=True))
    assert said["cwd"] == str(tmp_path / FOLDER)
    assert said["argv"][0] == "--order-fd"
    assert said["leads"]
    assert said["open"] == [0, 1, 2]
    assert said["environment"].items() >= {"PYTHONHASHSEED": "0", "HOME": "/home/u"}.items()
    assert "the master key" not in str(said)
    assert not any(secret in str(said["argv"]) + str(said["environment"]) for secret in ("run-key-text", "12345678"))


async def test_modules_are_looked_for_in_the_import_paths_first(tmp_path: Path) -> None:
    command = (sys.executable, "-S", "-c", "import os; print(os.environ['PYTHONPATH'])")
    given = ProcessInfrastructure(
        tmp_path, command=command, import_paths=[Path("/project")], environment={"PYTHONPATH": "/theirs"}
    )
    await (await given.launch(ORDER)).wait()
    assert (tmp_path / FOLDER / "stdout").read_text() == "/project:/theirs\n"


async def test_terminate_asks_and_kill_makes(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); wait_at_gate('deaf'); wait_at_gate('still there')"
    async with Gate() as gate:
        launched = await processes(tmp_path, body, gate).launch(ORDER)
        await gate.arrivals(1)
        await launched.terminate()
        gate.let_through("deaf")
        await gate.arrivals(2)
        await launched.kill()
        assert await launched.wait() == Exit(signal=9)


async def test_terminate_reaches_the_whole_group(tmp_path: Path) -> None:
    body = "child = os.fork(); wait_at_gate('parent' if child else 'child')"
    async with Gate() as gate:
        launched = await processes(tmp_path, body, gate).launch(ORDER)
        await gate.arrivals(2)
        await launched.terminate()
        await gate.departure("child")
        assert await launched.wait() == Exit(signal=15)


async def test_what_a_runner_left_behind_is_killed_before_its_end_is_told(tmp_path: Path) -> None:
    body = "child = os.fork(); wait_at_gate('parent' if child else 'child'); sys.exit(0)"
    async with Gate() as gate:
        launched = await processes(tmp_path, body, gate).launch(ORDER)
        await gate.arrivals(2)
        gate.let_through("parent")
        assert await launched.wait() == Exit(exit_code=0)
        await gate.departure("child")


async def test_cancelling_the_wait_leaves_the_runner_alone(tmp_path: Path) -> None:
    async with Gate() as gate:
        launched = await processes(tmp_path, "wait_at_gate('here'); sys.exit(5)", gate).launch(ORDER)
        await gate.arrivals(1)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await launched.wait()
        gate.let_through("here")
        assert await launched.wait() == Exit(exit_code=5)


async def test_one_epoch_is_launched_once(tmp_path: Path) -> None:
    async with Gate() as gate:
        given = processes(tmp_path, "wait_at_gate(str(os.getpid()))", gate)
        launched = [await given.launch(ORDER), await given.launch(ORDER)]
        await gate.arrivals(1)
        assert launched[0] is launched[1]
        gate.let_through(*gate.arrived)
        await launched[0].wait()
        assert len(gate.arrived) == 1


async def test_an_agent_started_again_in_the_same_process_knows_its_children(tmp_path: Path) -> None:
    async with Gate() as gate:
        await processes(tmp_path, "wait_at_gate('runner'); sys.exit(5)", gate).launch(ORDER)
        await gate.arrivals(1)
        second_life = processes(tmp_path, "wait_at_gate('another')", gate)
        (survivor,) = await second_life.survivors()
        assert (survivor.run, survivor.epoch) == (ORDER.run, ORDER.epoch)
        assert await second_life.launch(ORDER) is survivor
        gate.let_through("runner")
        assert await survivor.wait() == Exit(exit_code=5)
        assert gate.arrived == ["runner"]


_LAUNCH_AND_DIE = """
import os, sys
from pathlib import Path
import anyio
from playhead.agent.processes import ProcessInfrastructure
from tests.agent.stand_ins import an_order, stand_in
command = stand_in("child = os.fork(); wait_at_gate('runner' if child else 'child')")
anyio.run(ProcessInfrastructure(Path(sys.argv[1]), command=command).launch, an_order())
os.kill(os.getpid(), 9)
"""


async def launch_and_die(folder: Path, gate: Gate) -> None:
    """An agent in a process of its own, killed as soon as it has launched: nobody here is its runner's parent."""
    agent = await anyio.run_process(
        [sys.executable, "-c", _LAUNCH_AND_DIE, str(folder)],
        check=False,
        env={**os.environ, "GATE": str(gate.port)},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    assert agent.returncode == -signal.SIGKILL
    await gate.arrivals(2)


async def test_a_runner_survives_its_agent_and_is_ended_with_all_it_started(tmp_path: Path) -> None:
    async with Gate() as gate:
        await launch_and_die(tmp_path, gate)
        second_life = processes(tmp_path, "wait_at_gate('another')", gate)
        (survivor,) = await second_life.survivors()
        assert await second_life.launch(ORDER) is survivor
        gate.let_through("runner")
        assert await survivor.wait() == Exit()
        await gate.departure("child")
        assert sorted(gate.arrived) == ["child", "runner"]


async def test_an_adopted_runner_can_be_killed(tmp_path: Path) -> None:
    async with Gate() as gate:
        await launch_and_die(tmp_path, gate)
        (survivor,) = await processes(tmp_path, "").survivors()
        await survivor.kill()
        assert await survivor.wait() == Exit()
        assert await survivor.wait() == Exit()


def record(folder: Path, pid: int, *, started: int | None, place: str | None) -> None:
    (folder / FOLDER).mkdir()
    written = ProcessRecord(run=ORDER.run, epoch=ORDER.epoch, pid=pid, started=started, place=place)
    (folder / FOLDER / "process.json").write_text(written.model_dump_json())


async def test_another_process_of_the_same_pid_is_not_taken_for_the_runner(tmp_path: Path) -> None:
    me = proc.ProcessName.of(os.getpid())
    assert me.started is not None
    record(tmp_path, me.pid, started=me.started - 1, place=me.place)
    (survivor,) = await processes(tmp_path, "").survivors()
    await survivor.terminate()
    await survivor.kill()
    assert await survivor.wait() == Exit()


@pytest.mark.parametrize("known", [False, True])
async def test_a_runner_of_another_place_is_out_of_sight(tmp_path: Path, known: bool) -> None:
    me = proc.ProcessName.of(os.getpid())
    record(tmp_path, me.pid, started=me.started if known else None, place="another boot")
    (survivor,) = await processes(tmp_path, "").survivors()
    await survivor.kill()
    assert isinstance(await survivor.wait(), LostSight)


async def test_a_folder_without_a_record_held_no_runner(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "process.json+").write_text("half of it")
    given = processes(tmp_path, "sys.exit(4)")
    assert await given.survivors() == []
    (tmp_path / FOLDER).mkdir()
    assert await (await given.launch(ORDER)).wait() == Exit(exit_code=4)


async def test_a_runner_whose_agent_dies_before_the_order_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the runner sees it: the pipe ends before an order came."""

    def says_nothing(self: RunnerOrder, fd: int) -> None:
        del self, fd

    monkeypatch.setattr(RunnerOrder, "to_pipe", says_nothing)
    launched = await processes(tmp_path, "sys.exit(1)").launch(ORDER)
    assert await launched.wait() == Exit(exit_code=99)


async def test_a_runner_that_ends_before_it_reads_its_order_is_a_death_and_not_a_failed_launch(tmp_path: Path) -> None:
    given = ProcessInfrastructure(
        tmp_path, command=("/bin/sh", "-c", "echo no such module >&2; exit 9"), environment={}
    )
    launched = await given.launch(ORDER)
    assert await launched.wait() == Exit(exit_code=9)
    await launched.forget(keep_output=True)
    assert (Path(launched.output) / "stderr").read_text() == "no such module\n"


async def test_a_program_that_is_not_there_fails_the_launch_and_leaves_nothing(tmp_path: Path) -> None:
    given = ProcessInfrastructure(tmp_path, command=("/nowhere/python",), environment={})
    with pytest.raises(LaunchFailed, match="/nowhere/python can be started"):
        await given.launch(ORDER)
    assert list(tmp_path.iterdir()) == []


async def test_a_launch_that_cannot_be_recorded_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def full(self: folder_module.RunnerFolder, process: proc.ProcessName) -> None:
        started.append(process.pid)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module.RunnerFolder, "write_record", full)
    with pytest.raises(LaunchFailed, match="No space left"):
        await processes(tmp_path, "").launch(ORDER)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ChildProcessError):  # killed and reaped
        os.waitpid(started[0], os.WNOHANG)


async def test_what_ended_well_is_removed_and_the_rest_is_kept_for_its_reader(tmp_path: Path) -> None:
    given = processes(tmp_path, "print('last words'); sys.exit(order['epoch'] - 1)")
    for epoch in (1, 2):
        launched = await given.launch(an_order(epoch=epoch))
        end = await launched.wait()
        assert isinstance(end, Exit)
        await launched.forget(keep_output=end.exit_code != 0)
    assert [path.name for path in tmp_path.iterdir()] == ["ended"]
    assert (tmp_path / "ended" / f"{ORDER.run}-2" / "stdout").read_text() == "last words\n"
    assert await given.survivors() == []


async def test_output_and_kept_folders_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MAX_OUTPUT_BYTES", 10)
    monkeypatch.setattr(folder_module, "MAX_ENDED", 2)
    body = "print('x' * 20, flush=True); wait_at_gate('wrote'); print('more', flush=True); wait_at_gate('again')"
    async with Gate() as gate:
        given = processes(tmp_path, body, gate)
        launched = await given.launch(ORDER)
        await gate.arrivals(1)
        await given.tend()
        gate.let_through("wrote")
        await gate.arrivals(2)
        gate.let_through("again")
        await launched.wait()
    assert (tmp_path / FOLDER / "stdout").read_text() == "more\n"
    assert (tmp_path / FOLDER / "stdout.1").read_text() == "x" * 20 + "\n"
    for number in range(4):
        kept = tmp_path / "ended" / f"{ORDER.run}-{number}"
        kept.mkdir(parents=True)
        os.utime(kept, (number, number))
    keep_within_bounds(tmp_path)
    assert {path.name for path in (tmp_path / "ended").iterdir()} == {f"{ORDER.run}-2", f"{ORDER.run}-3"}


async def test_a_process_that_has_blanks_and_brackets_in_its_name_is_known(tmp_path: Path) -> None:
    odd = tmp_path / "a ) b (c"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([odd, "60"])
    try:
        found = proc.look(proc.ProcessName.of(child.pid))
        assert isinstance(found, int)
        os.close(found)
    finally:
        child.kill()
        child.wait()
