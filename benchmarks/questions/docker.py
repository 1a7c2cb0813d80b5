"""How long from a run being ready to the first line of its flow's code, in a container? Beside it, a bare `docker run` of the same image
that imports the same modules. It needs root, dockerd and debootstrap, and says so where one is missing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import flows
from benchmarks.harness import Effort, Limit, Question, Row
from benchmarks.stage import open_home, served, started
from playhead.client.client import Client
from playhead.core import events as ev
from playhead.home import Home

RUNS: Final = 20

# Everything that the runner had imported at the first line, in a fresh interpreter; what does not import there was not a module.
_BARE: Final = """\
import importlib, sys, time
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        pass
print(time.time())
"""


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    from tests.docker.conftest import built_engine  # of the repository's tests, whose engine and image this is

    try:
        with built_engine(folder / "context") as docker:
            ours, bare = starts(folder, docker.engine.host, docker.image, effort.of(RUNS))
    except LookupError as error:
        print(f"docker: not asked: {error}", file=sys.stderr)
        return
    yield Row(
        what=f"ready to first line in a container, p50 of {len(ours)}", unit="ms", values=ours,
        limit=Limit(what="bare docker run, same imports", values=bare),
    )  # fmt: skip


def starts(folder: Path, host: str, image: str, runs: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Milliseconds of ours and of the bare one, in turns, with the engine at `host`; the first of each was a warm-up."""
    home, mark = open_home(folder / "home"), folder / "mark"
    with served(home.path) as (url, _):
        command = [
            *(
                "-m",
                "playhead.cli",
                "agent",
                "docker",
                "--home",
                str(home.path),
                "--server",
                url,
                "--docker-host",
                host,
            ),
            *("--network", "host", "--default-image", image, "--mount", f"{folder}:{folder}", "--json"),
        ]
        with started(command) as agent:
            assert agent.stdout is not None
            agent.stdout.readline()
            return asyncio.run(_in_turns(home, url, mark, runs, lambda modules: _bare_ms(host, image, modules)))


async def _in_turns(
    home: Home, url: str, mark: Path, runs: int, bare_ms: Callable[[list[str]], float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ours: list[float] = []
    bare: list[float] = []
    async with Client(url, home=home) as client:
        await client.register(flows.touch_and_tell)
        for _ in range(runs + 1):
            run = await client.start(flows.touch_and_tell.name, parameters={"path": str(mark)})
            await run.result()
            ready = [each.recorded_at async for each in client.api.history(run.id) if each.type == ev.RunReady.TYPE]
            at, *modules = mark.read_text(encoding="utf-8").split()
            ours.append(1e3 * float(at) - ready[0] / 1e3)
            bare.append(await asyncio.to_thread(bare_ms, modules))
    return tuple(ours[1:]), tuple(bare[1:])


def _bare_ms(host: str, image: str, modules: list[str]) -> float:
    docker = shutil.which("docker")
    assert docker is not None, "the engine's fixture has looked"
    ran = [docker, "--host", host, "run", "--rm", "--network", "host", image, "python3", "-c", _BARE, *modules]
    began = time.time()
    said = subprocess.run(ran, capture_output=True, text=True, check=True, timeout=60, env=dict(os.environ)).stdout
    return 1e3 * (float(said.split()[-1]) - began)


QUESTION: Final = Question(name="docker", asks="ready to first line of flow code, in a container", ask=ask)
