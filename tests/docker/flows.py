"""Flows for containers. What their tasks do is written to the file that LEDGER names, which is mounted from the host."""

from __future__ import annotations

import os
import time
from pathlib import Path

from playhead import DockerRun, flow, task


def wrote(line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


@task
def step(number: int) -> int:
    wrote(f"step {number} {os.getpid()}")
    return number + 1


@flow
def chain(length: int = 3, seconds: float = 0.0) -> int:
    """Steps one after the other, with a rest of so many seconds behind each; fits every agent."""
    print("said on stdout")
    number = 0
    for _ in range(length):
        number = step(number)
        time.sleep(seconds)
    return number


@task
def until(gate: str) -> str:
    wrote("waiting")
    while not Path(gate).exists():
        time.sleep(0.05)
    return Path("/etc/hostname").read_text().strip()


@flow(run_config=DockerRun())
def waits(gate: str) -> str:
    """Ends when there is a file of that name."""
    return until(gate)


@flow(run_config=DockerRun())
def exits_well() -> None:
    """Ends its process as if all were well, without an outcome."""
    wrote("exits")
    os._exit(0)


@flow(run_config=DockerRun(memory_mb=200))
def hungry() -> int:
    wrote("hungry")
    return sum(len(b"x" * 50_000_000 + bytes([n])) for n, _ in enumerate([bytearray(60_000_000) for _ in range(20)]))


@flow(run_config=DockerRun(env={"FROM_SEAL": "planted-in-the-seal"}, container_labels={"team": "census"}))
def surroundings() -> dict[str, str]:
    return {"seal": os.environ["FROM_SEAL"], "agent": os.environ["FROM_AGENT"], "user": str(os.getuid())}


BOUNDS = DockerRun(
    memory_mb=300, cpus=0.5, working_dir="/srv", container_labels={"team": "census"}, mounts=("/etc/apt:/given:ro",)
)


@flow(run_config=BOUNDS)
def bounded() -> tuple[str, bool, bool]:
    """Where it is, whether it sees what was mounted, and whether it may write there."""
    return str(Path.cwd()), Path("/given/sources.list.d").exists(), os.access("/given", os.W_OK)


@flow(run_config=DockerRun(gpus=1))
def on_gpus() -> None: ...


@flow(run_config=DockerRun(image="playhead-missing:1", pull="never"))
def on_missing() -> None: ...


@flow(run_config=DockerRun(image="playhead-base:1"))
def on_bare() -> None: ...


@flow(run_config=DockerRun(image="playhead-old:1"))
def on_old() -> None: ...


@flow(run_config=DockerRun(image="playhead-base:1", python="python9"))
def without_interpreter() -> None: ...


@flow(run_config=DockerRun(mounts=("/:/host",)))
def mounts_all() -> None: ...


@flow(run_config=DockerRun(network="elsewhere"))
def asks_for_a_network() -> None: ...
