"""What the process executor does beyond the port: its processes counted, replaced, kept clean, and ended with us."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from playhead.errors import InfrastructureLost, UsageError
from playhead.executors import ProcessExecutor, switchboard
from playhead.executors.workforce import Workforce
from playhead.ports.executor import OpenExecutor
from playhead.testing.gates import Gate, wait_at

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it runs on Linux and macOS")

METHODS = ["forkserver", "spawn"]


async def test_processes_start_when_they_are_needed() -> None:
    async with ProcessExecutor(workers=3).open() as executor:
        assert _descendants() == []
        await executor.submit(int)
        assert len(_workers()) == 1
        async with Gate() as gate:
            calls = [executor.submit(wait_at, gate.port, f"call {n}") for n in range(7)]
            await gate.arrivals(3)
            assert len(_workers()) == 3
            for number in range(7):
                await gate.arrivals(number + 1)
                gate.let_through(gate.arrived[number])
            await asyncio.gather(*calls)
        assert len(_workers()) == 3
    assert _descendants() == []


async def test_a_worker_is_used_again_and_replaced_when_it_dies() -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        first = await executor.submit(os.getpid)
        assert await executor.submit(os.getpid) == first
        with pytest.raises(InfrastructureLost, match=f"worker process {first} ended with exit code 0 under _exit"):
            await executor.submit(os._exit, 0)
        assert await executor.submit(os.getpid) != first
        assert len(_workers()) == 1


async def test_the_death_of_an_idle_worker_is_charged_to_no_call() -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        first = await executor.submit(os.getpid)
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, [psutil.Process(first)] if psutil.pid_exists(first) else [], 20)
        assert await executor.submit(os.getpid) != first


async def test_a_worker_killed_from_outside_is_named_by_the_signal() -> None:
    async with Gate() as gate, ProcessExecutor(workers=1).open() as executor:
        worker = await executor.submit(os.getpid)
        call = executor.submit(wait_at, gate.port, "a")
        await gate.arrivals(1)
        os.kill(worker, signal.SIGTERM)
        with pytest.raises(InfrastructureLost, match="was killed by SIGTERM under wait_at") as caught:
            await call
        assert (caught.value.signal, caught.value.exit_code) == (signal.SIGTERM, None)


async def test_the_executor_survives_its_nursery() -> None:
    async with Gate() as gate, ProcessExecutor(workers=1).open() as executor:
        worker = await executor.submit(os.getpid)
        call = executor.submit(wait_at, gate.port, "a")
        await gate.arrivals(1)
        (nursery,) = psutil.Process().children()
        nursery.kill()
        with pytest.raises(InfrastructureLost, match="nobody saw how"):
            await call
        await gate.departure("a")  # the worker has ended with its nursery
        assert await executor.submit(os.getpid) != worker


async def test_a_call_that_closes_every_descriptor_is_lost_and_the_next_one_is_not() -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        with pytest.raises(InfrastructureLost):
            await executor.submit(os.closerange, 3, 1000)
        assert await executor.submit(max, 1, 2) == 2


@pytest.mark.parametrize("method", METHODS)
async def test_workers_inherit_nothing_and_import_little(method: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        async with ProcessExecutor(workers=2, start_method=method).open() as executor:
            imported = await executor.submit(eval, "sorted(__import__('sys').modules)")
            await _fill(executor)
            for pid in _workers():
                assert _sockets_of(pid) <= 1, "a worker has its own socket to its parent, and no other"
    assert "cloudpickle" in imported
    assert not {"playhead", "pydantic", "anyio", "multiprocessing"} & set(imported)


@pytest.mark.parametrize("method", METHODS)
async def test_workers_have_the_callers_path_environment_and_folder(
    method: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "only_here.py").write_text("def twice(n): return 2 * n\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONHASHSEED", "42")
    only_here = importlib.import_module("only_here")
    async with ProcessExecutor(workers=1, start_method=method).open() as executor:
        assert await executor.submit(only_here.twice, 4) == 8
        assert await executor.submit(eval, "__import__('os').environ['PYTHONHASHSEED']") == "42"
        assert await executor.submit(os.getcwd) == str(Path.cwd())
        first = await executor.submit(hash, "the same")
    async with ProcessExecutor(workers=1, start_method=method).open() as executor:
        assert await executor.submit(hash, "the same") == first


async def test_functions_and_classes_made_on_the_spot_cross() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    factor = 3

    async def scaled(point: Point) -> Point:
        return Point(point.x * factor)

    async with ProcessExecutor(workers=1).open() as executor:
        point = await executor.submit(scaled, Point(5))
        assert type(point) is Point
        assert point.x == 15


async def test_an_exception_brings_its_cause_and_where_it_was_raised() -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        with pytest.raises(ValueError, match="no number") as caught:
            await executor.submit(_fail_with_a_cause)
    assert isinstance(caught.value.__cause__, KeyError)
    (note,) = caught.value.__notes__
    assert "in the worker process" in note
    assert "_fail_with_a_cause" in note
    assert "worker.py" not in note, "our own frames are not the caller's concern"


@pytest.mark.parametrize("method", METHODS)
async def test_workers_end_when_the_parent_is_killed(method: str, tmp_path: Path) -> None:
    """The program has no `if __name__ == "__main__"`: a worker must not run it again."""
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, sys\n"
        "from playhead.executors import ProcessExecutor\n"
        "from playhead.testing.gates import wait_at\n"
        "def walk_to_gate(name): return wait_at(int(sys.argv[1]), name)\n"
        "async def main():\n"
        "    async with ProcessExecutor(workers=2, start_method=sys.argv[2]).open() as executor:\n"
        "        calls = [executor.submit(wait_at, int(sys.argv[1]), name) for name in 'ab']\n"
        "        await asyncio.gather(*calls)\n"
        "asyncio.run(main())\n"
    )
    async with Gate() as gate:
        parent = await asyncio.create_subprocess_exec(sys.executable, str(program), str(gate.port), method)
        try:
            await gate.arrivals(2)
            family = psutil.Process(parent.pid).children(recursive=True)
            assert len(family) == 3
            parent.kill()
            await gate.departure("a")
            await gate.departure("b")
            _, alive = await asyncio.to_thread(psutil.wait_procs, family, 20)
            assert alive == []
            assert sorted(gate.arrived) == ["a", "b"]
        finally:
            if parent.returncode is None:
                parent.kill()
            await parent.wait()


async def test_ctrl_c_is_the_parents_to_handle() -> None:
    async with Gate() as gate, ProcessExecutor(workers=1).open() as executor:
        call = executor.submit(wait_at, gate.port, "a")
        await gate.arrivals(1)
        for process in _descendants():
            process.send_signal(signal.SIGINT)
        gate.let_through("a")
        assert await call == "a"
        assert await executor.submit(max, 1, 2) == 2


async def test_a_system_that_gives_no_process_loses_the_call_and_not_the_executor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        for error in (OSError("no more processes"), ValueError("a fault of ours")):
            with monkeypatch.context() as patch:
                patch.setattr(Workforce, "hire", _failing(error))
                with pytest.raises(InfrastructureLost, match=str(error)):
                    await executor.submit(max, 1, 2)
        assert await executor.submit(max, 1, 2) == 2


async def test_a_large_result_keeps_no_other_worker_waiting() -> None:
    """It is unpickled beside the switchboard's thread."""
    _stuck.clear()
    async with ProcessExecutor(workers=2).open() as executor:
        try:
            large = executor.submit(SlowToUnpickle)
            assert [await executor.submit(max, 1, number) for number in range(2, 6)] == [2, 3, 4, 5]
            assert not large.done()
        finally:
            _stuck.set()
        assert await large == LARGE_BYTES


async def test_a_call_is_cancelled_while_its_large_argument_is_on_its_way() -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        first = await executor.submit(os.getpid)
        os.kill(first, signal.SIGSTOP)  # it reads nothing
        call = executor.submit(len, bytes(50_000_000))
        following = executor.submit(os.getpid)
        while not any(thread.name == "playhead-process-carrier" for thread in threading.enumerate()):
            await asyncio.sleep(0)
        assert call.cancel()
        assert await following != first


async def test_a_worker_that_dies_with_half_an_answer_sent_is_replaced() -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        with pytest.raises(InfrastructureLost, match="exit code 5 under _answer_half"):
            await executor.submit(_answer_half)
        assert await executor.submit(max, 1, 2) == 2


async def test_a_large_call_that_finds_no_memory_is_lost_and_the_next_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        with monkeypatch.context() as patch:
            patch.setattr(switchboard, "receive_rest", _out_of_memory)
            with pytest.raises(InfrastructureLost, match="MemoryError"):
                await executor.submit(bytes, 1_000_000)
        assert await executor.submit(max, 1, 2) == 2


async def test_a_fault_of_ours_leaves_no_call_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Gate() as gate, ProcessExecutor(workers=2).open() as executor:
        running = executor.submit(wait_at, gate.port, "a")
        await gate.arrivals(1)
        monkeypatch.setattr(switchboard.Switchboard, "_hire", _out_of_memory)
        waiting = executor.submit(max, 1, 2)
        for call in (running, waiting):
            with pytest.raises(InfrastructureLost, match="MemoryError"):
                await call
    assert _descendants() == []


async def test_a_system_that_gives_no_second_process_leaves_the_calls_to_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ProcessExecutor(workers=2).open() as executor:
        first = await executor.submit(os.getpid)
        monkeypatch.setattr(Workforce, "hire", _failing(OSError("no more processes")))
        pids = await asyncio.gather(*[executor.submit(os.getpid) for _ in range(10)])
        assert set(pids) == {first}


async def test_a_system_that_gives_no_thread_loses_the_large_call_and_not_the_executor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ProcessExecutor(workers=1).open() as executor:
        await executor.submit(int)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_thread)
            with pytest.raises(InfrastructureLost, match="no more threads"):
                await executor.submit(len, bytes(LARGE_BYTES))
        assert await executor.submit(max, 1, 2) == 2


async def test_elsewhere_than_on_linux_and_macos_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = ProcessExecutor().open()
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match="WSL"):
        await opened.__aenter__()


LARGE_BYTES = 1_000_000

_stuck = threading.Event()


class SlowToUnpickle:
    """Large, and unpickled only when the event says so."""

    def __reduce__(self) -> tuple[Callable[[bytes], int], tuple[bytes]]:
        return _unpickle_slowly, (bytes(LARGE_BYTES),)


def _unpickle_slowly(data: bytes) -> int:
    assert _stuck.wait(20)
    return len(data)


def _answer_half() -> NoReturn:
    """What the worker would send, cut off by its death."""
    (descriptor,) = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if _is_socket(fd)]
    os.write(descriptor, b"r" + bytes(10))
    os._exit(5)


def _no_thread(_: threading.Thread) -> NoReturn:
    raise RuntimeError("no more threads")


def _out_of_memory(*_: object) -> NoReturn:
    raise MemoryError


def _fail_with_a_cause() -> None:
    try:
        raise KeyError("five")
    except KeyError as error:
        raise ValueError("no number") from error


def _failing(error: Exception) -> Callable[[Workforce, str], NoReturn]:
    def hire(_: Workforce, __: str) -> NoReturn:
        raise error

    return hire


async def _fill(executor: OpenExecutor) -> None:
    """Have every worker started."""
    async with Gate() as gate:
        calls = [executor.submit(wait_at, gate.port, f"call {n}") for n in range(executor.width)]
        await gate.arrivals(executor.width)
        gate.let_through(*gate.arrived)
        await asyncio.gather(*calls)


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _workers() -> list[int]:
    return [worker.pid for nursery in psutil.Process().children() for worker in nursery.children()]


def _sockets_of(pid: int) -> int:
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    return sum(_is_socket(fd) for fd in descriptors)


def _is_socket(descriptor: Path) -> bool:
    return int(descriptor.name) > 2 and os.path.lexists(descriptor) and str(descriptor.readlink()).startswith("socket:")
