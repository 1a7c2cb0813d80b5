"""Runners that are forks of a zygote, with real processes: what they are given, how their ends are told, and what becomes of each
when zygote or agent dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from playhead.agent import folder as folder_module
from playhead.agent import proc
from playhead.agent.infrastructure import Exit, Launched
from playhead.agent.processes import ProcessInfrastructure
from playhead.agent.runner_process import ChildProcess, ForkedProcess
from playhead.errors import LaunchFailed
from playhead.runner.bootstrap import RunnerOrder
from playhead.testing.gates import Gate
from tests.agent.stand_ins import an_order, stand_in, zygote_stand_in

ORDER = an_order()
ENDS_SECONDS = 20.0  # for a process that must end by itself: generous, because two cores do everything

FACTS = """
import random, secrets, ssl, __main__
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "order": order, "cwd": os.getcwd(), "argv": sys.argv[1:], "path": sys.path, "environment": dict(os.environ),
    "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
    "open": sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)),
    "stdin": os.readlink("/proc/self/fd/0"), "main": __main__.__spec__.name if __main__.__spec__ else None,
    "signals": [status[name].strip() for name in ("SigBlk", "SigIgn", "SigCgt")],
    "hash": hash("playhead"), "flags": str(sys.flags), "umask": status["Umask"].strip(), "threads": status["Threads"].strip(),
}))
print(json.dumps([random.random(), secrets.token_hex(8), ssl.RAND_bytes(8).hex()]), file=sys.stderr)
"""


def forks(
    folder: Path,
    body: str,
    gate: Gate | None = None,
    *,
    beside: str = "",
    import_paths: Sequence[Path] = (),
    **more: str,
) -> ProcessInfrastructure:
    """While warmed, its runners are forks; a fresh interpreter ends with 97."""
    given = {"PATH": os.environ["PATH"], **more}
    if gate is not None:
        given["GATE"] = str(gate.port)
    return ProcessInfrastructure(
        folder,
        command=stand_in("os._exit(97)"),
        zygote=zygote_stand_in(body, beside=beside),
        import_paths=import_paths,
        environment=given,
    )


def said(launched: Launched, folder: Path) -> str:
    return (folder / f"{launched.run}-{launched.epoch}" / "stdout").read_text()


def zygote_of(launched: Launched) -> int:
    """The parent of a runner that lives."""
    assert isinstance(launched, ForkedProcess)
    return int(Path(f"/proc/{launched.pid}/stat").read_text().rpartition(")")[2].split()[1])


async def gone(pid: int) -> None:
    """Return when the process has ended; whoever inherited it reaps it."""
    with anyio.fail_after(ENDS_SECONDS):
        sight = proc.look(proc.ProcessName.of(pid))
        if isinstance(sight, int):
            await anyio.wait_readable(sight)
            os.close(sight)


async def test_a_fork_finds_what_a_fresh_interpreter_finds(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "fresh.py").write_text(stand_in(FACTS)[-1])
    environment = {
        "PATH": os.environ["PATH"],
        "PLAYHEAD_KEY": "the master key",
        "PYTHONPATH": "/theirs",
        "HOME": "/home/u",
    }
    told: list[dict[str, object]] = []
    with (tmp_path / "kept open").open("wb") as other:
        os.set_inheritable(other.fileno(), True)
        for zygote in (None, zygote_stand_in(FACTS)):
            folder = tmp_path / "agent"
            folder.mkdir()
            processes = ProcessInfrastructure(
                folder,
                command=(sys.executable, "-m", "fresh"),
                zygote=zygote,
                import_paths=[project],
                environment=environment,
            )
            async with processes.warmed():
                launched = await processes.launch(ORDER)
                assert isinstance(launched, ForkedProcess if zygote else ChildProcess)
                assert await launched.wait() == Exit(exit_code=0)
            told.append(json.loads(said(launched, folder)))
            folder.rename(tmp_path / f"agent of {launched.pid}")
    fresh, fork = told
    assert fresh.pop("main") == "fresh"
    assert fork.pop("main") == "playhead.runner.__main__"
    assert fork["open"] == [0, 1, 2]
    assert fork["argv"] == ["--order-fd", "3"]
    del fork["argv"], fresh["argv"]
    assert fork == fresh
    assert "the master key" not in str(fork)


async def test_each_run_has_a_fork_of_its_own_and_no_randomness_of_another(tmp_path: Path) -> None:
    processes = forks(tmp_path, FACTS)
    drawn: list[list[object]] = []
    async with processes.warmed():
        for epoch in (1, 2, 3):
            launched = await processes.launch(an_order(epoch=epoch))
            assert await launched.wait() == Exit(exit_code=0)
            drawn.append(json.loads((tmp_path / f"{ORDER.run}-{epoch}" / "stderr").read_text()))
    assert all(len({str(value) for value in column}) == 3 for column in zip(*drawn, strict=True))


@pytest.mark.parametrize(
    ("body", "end"),
    [
        ("", Exit(exit_code=0)),
        ("os._exit(3)", Exit(exit_code=3)),
        ("raise ValueError", Exit(exit_code=1)),
        ("os.kill(os.getpid(), signal.SIGKILL)", Exit(signal=9)),
    ],
)
async def test_the_end_of_a_fork_is_told_with_code_or_signal_and_it_is_no_zombie(
    tmp_path: Path, body: str, end: Exit
) -> None:
    processes = forks(tmp_path, body)
    async with processes.warmed():
        launched = await processes.launch(ORDER)
        assert await launched.wait() == end
        assert await launched.wait() == end
        assert isinstance(launched, ForkedProcess)
        assert not Path(f"/proc/{launched.pid}").exists()


async def test_an_agent_holds_nothing_of_a_fork_that_has_ended(tmp_path: Path) -> None:
    processes = forks(tmp_path, "")
    async with processes.warmed():
        counts: list[int] = []
        for epoch in (1, 2, 3):
            launched = await processes.launch(an_order(epoch=epoch))
            await launched.wait()
            await launched.forget(keep_output=False)
            counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert len(set(counts)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zygote.stderr"]
    assert (tmp_path / "zygote.stderr").read_text() == ""


async def test_what_a_fork_left_behind_is_killed_before_its_end_is_told(tmp_path: Path) -> None:
    body = "child = os.fork(); wait_at_gate('parent' if child else 'child'); os._exit(0)"
    async with Gate() as gate:
        processes = forks(tmp_path, body, gate)
        async with processes.warmed():
            launched = await processes.launch(ORDER)
            await gate.arrivals(2)
            gate.let_through("parent")
            assert await launched.wait() == Exit(exit_code=0)
            await gate.departure("child")


async def test_terminate_asks_a_fork_and_kill_makes_it(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); wait_at_gate('deaf'); wait_at_gate('still there')"
    async with Gate() as gate:
        processes = forks(tmp_path, body, gate)
        async with processes.warmed():
            launched = await processes.launch(ORDER)
            await gate.arrivals(1)
            await launched.terminate()
            gate.let_through("deaf")
            await gate.arrivals(2)
            await launched.kill()
            assert await launched.wait() == Exit(signal=9)


async def test_a_zygote_without_runners_ends_with_its_agent(tmp_path: Path) -> None:
    async with Gate() as gate:
        processes = forks(tmp_path, "wait_at_gate('runner')", gate)
        async with processes.warmed():
            launched = await processes.launch(ORDER)
            await gate.arrivals(1)
            zygote = zygote_of(launched)
            gate.let_through("runner")
            await launched.wait()
            await launched.forget(keep_output=False)
            children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
            assert len(children) == 1, "the spare"
    assert not Path(f"/proc/{zygote}").exists()
    assert not Path(f"/proc/{children[0]}").exists()


_LAUNCH_AND_DIE = """
import os, sys
from pathlib import Path
import anyio
from tests.agent.test_forks import forks
from tests.agent.stand_ins import an_order
async def main():
    processes = forks(Path(sys.argv[1]), sys.argv[2], GATE=os.environ["GATE"])
    async with processes.warmed():
        await processes.launch(an_order())
        os.kill(os.getpid(), 9)
anyio.run(main)
"""


async def test_an_agent_that_comes_later_learns_how_a_fork_ended(tmp_path: Path) -> None:
    async with Gate() as gate:
        agent = await anyio.run_process(
            [sys.executable, "-c", _LAUNCH_AND_DIE, str(tmp_path), "wait_at_gate(str(os.getppid())); os._exit(5)"],
            check=False,
            env={**os.environ, "GATE": str(gate.port)},
            cwd=Path(__file__).parents[2],
            stderr=subprocess.DEVNULL,
        )
        assert agent.returncode == -signal.SIGKILL
        await gate.arrivals(1)
        (survivor,) = await forks(tmp_path, "").survivors()
        gate.let_through(*gate.arrived)
        assert await survivor.wait() == Exit(exit_code=5)
        await gone(int(gate.arrived[0]))


async def test_the_next_agent_of_one_program_learns_it_too(tmp_path: Path) -> None:
    async with Gate() as gate:
        processes = forks(tmp_path, "wait_at_gate('runner'); os._exit(5)", gate)
        async with processes.warmed():
            first = await processes.launch(ORDER)
            await gate.arrivals(1)
            zygote = zygote_of(first)
        (survivor,) = await forks(tmp_path, "").survivors()
        gate.let_through("runner")
        assert await survivor.wait() == Exit(exit_code=5)
        await gone(zygote)


async def test_forks_outlive_their_zygote_and_the_next_launch_makes_another(tmp_path: Path) -> None:
    """Nobody sees the fork's end code then. What it left is known by the marker, which it has not from an exec."""
    body = "child = os.fork(); wait_at_gate(f'runner {order[\"epoch\"]}' if child else 'child')"
    async with Gate() as gate:
        processes = forks(tmp_path, body, gate)
        async with processes.warmed():
            launched = await processes.launch(ORDER)
            await gate.arrivals(2)
            first = zygote_of(launched)
            os.kill(first, signal.SIGKILL)
            await gone(first)
            gate.let_through("runner 1")
            assert await launched.wait() == Exit()
            await gate.departure("child")
            second = await processes.launch(an_order(epoch=2))
            await gate.arrivals(4)
            assert zygote_of(second) != first
            await second.kill()
            assert await second.wait() == Exit(signal=9)


PLANT_ONCE = """
import os, threading
if not os.path.exists("planted"):
    open("planted", "w").close()
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


async def test_a_zygote_with_a_second_thread_forks_nothing_and_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    processes = forks(tmp_path, "os._exit(3)", beside=PLANT_ONCE)
    async with processes.warmed():
        launched = await processes.launch(ORDER)
        assert isinstance(launched, ForkedProcess)
        assert await launched.wait() == Exit(exit_code=3)
    (told,) = caplog.messages
    assert "it has 2 threads" in told
    assert "another is started" in told


@pytest.mark.parametrize("command", [("/bin/false",), ("/nowhere/python",)])
async def test_without_a_zygote_each_runner_is_a_fresh_interpreter(
    tmp_path: Path, command: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    processes = ProcessInfrastructure(tmp_path, command=stand_in("os._exit(4)"), zygote=command, environment={})
    async with processes.warmed():
        for epoch in (1, 2):
            launched = await processes.launch(an_order(epoch=epoch))
            assert isinstance(launched, ChildProcess)
            assert await launched.wait() == Exit(exit_code=4)
    assert caplog.messages[-1].endswith(("from now on", "each runner is a fresh interpreter"))


async def test_a_fork_whose_agent_dies_before_the_order_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the fork sees it: the pipe ends before an order came."""

    def says_nothing(self: RunnerOrder, fd: int) -> None:
        del self, fd

    monkeypatch.setattr(RunnerOrder, "to_pipe", says_nothing)
    processes = forks(tmp_path, "os._exit(1)")
    async with processes.warmed():
        launched = await processes.launch(ORDER)
        assert await launched.wait() == Exit(exit_code=99)


async def test_a_fork_that_cannot_be_recorded_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def full(self: folder_module.RunnerFolder, process: proc.ProcessName) -> None:
        started.append(process.pid)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module.RunnerFolder, "write_record", full)
    processes = forks(tmp_path, "")
    async with processes.warmed():
        with pytest.raises(LaunchFailed, match="No space left"):
            await processes.launch(ORDER)
    assert [path.name for path in tmp_path.iterdir()] == ["zygote.stderr"]
    assert not Path(f"/proc/{started[0]}").exists()
