"""What each kind of process imports, as sets of packages and a bound on their modules: start-up is imports, and each stays where it is.

A process that begins to import one of the packages it is said to do without has become slower to start by what that package
costs, for everybody. Move the import to where it is used, or say here why the process cannot do without it any more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

PATIENCE_SECONDS: Final = 50

PRINTING: Final = {"typer", "rich", "markdown_it", "pygments"}
SERVING: Final = {"uvicorn", "fastapi", "starlette"}
ASKING: Final = {"aiohttp", "yarl", "multidict"}
UNPICKLING: Final = {"cloudpickle", "dill", "joblib"}
ENGINE: Final = {"anyio", "asyncio", "orjson", "pydantic", "rpds", "sqlite3"}


@dataclass(frozen=True)
class Process:
    """What a process of one kind runs before it does its work, what it may not have loaded then, and how many modules at most.

    The bound is some percent above what there is, for libraries that move their files about.
    """

    code: str
    without: Collection[str]
    most_modules: int


def _command(*arguments: str) -> str:
    return f"from playhead.cli.app import run; run({list(arguments)})"


PROCESSES: Final = {
    "a program that imports playhead": Process(
        "import playhead", PRINTING | SERVING | ASKING | UNPICKLING | ENGINE, most_modules=70
    ),
    "a program that defines flows": Process(
        "from playhead import flow, task", PRINTING | SERVING | ASKING | UNPICKLING | {"anyio", "rpds", "sqlite3"}, 300
    ),
    "playhead --help": Process(_command("--help"), SERVING | ASKING | UNPICKLING | ENGINE, most_modules=360),
    "playhead --version": Process(
        _command("--version"), SERVING | ASKING | UNPICKLING | ENGINE | {"rich", "pygments"}, most_modules=180
    ),
    "a server": Process(
        "import playhead.cli.actions.serve", PRINTING | ASKING | UNPICKLING | {"fastapi", "playhead.agent"}, 465
    ),
    "a command that looks": Process("import playhead.cli.actions.look", SERVING | ASKING, most_modules=445),
    "a runner": Process("import playhead.runner.__main__", PRINTING | SERVING | ASKING | {"sqlite3"}, most_modules=380),
    "a flow that is called": Process("import playhead.embedded", PRINTING | SERVING | ASKING, most_modules=390),
}


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_process_imports_what_it_needs(kind: str) -> None:
    process = PROCESSES[kind]
    loaded = _loaded_by(process.code)
    assert loaded & set(process.without) == set()
    assert len(loaded) <= process.most_modules


SERVED: Final = """
import asyncio, os
from contextlib import AsyncExitStack
from pathlib import Path
from playhead.cli.place import Place
from playhead.hosting import HomeLock, own
from playhead.server.app import create_app
from playhead.server.serve import serve
import playhead.cli.actions.serve

async def answer(home):
    lock = HomeLock(home.lock_path)
    assert lock.try_take()
    async with own(home, lock) as api, serve(create_app(api), uds=home.path / "s"):
        reader, writer = await asyncio.open_unix_connection(home.path / "s")
        writer.write(b"GET /api/runs HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        writer.close()

asyncio.run(answer(Place.of(Path(os.environ["PLAYHEAD_HOME"])).home))
"""

OPENED: Final = """
import asyncio, os, sys
from importlib import metadata

scanned = []
scan = metadata.entry_points
metadata.entry_points = lambda **which: scanned.append(which["group"]) or scan(**which)

from pathlib import Path
from playhead.executors import LocalExecutor, ProcessExecutor, ThreadExecutor
from playhead.log import Log
from playhead.storage import open_storage

async def open_all(folder):
    open_storage(folder / "storage")
    for url in ("memory:", f"sqlite://{folder}/log.db"):
        async with Log.open(url):
            pass
    for spec in (LocalExecutor(), ThreadExecutor(), ProcessExecutor(workers=1)):
        async with spec.open():
            pass

asyncio.run(open_all(Path(os.environ["PLAYHEAD_HOME"])))
print(*scanned)
"""


def test_a_server_that_has_answered_has_imported_no_client(tmp_path: Path) -> None:
    """What only a request brings counts, too: a late import is paid by whoever asks first."""
    loaded = _loaded_by(SERVED, tmp_path)
    assert "playhead.service.queries" in loaded
    assert loaded & (ASKING | UNPICKLING | PRINTING | {"fastapi", "playhead.agent", "playhead.flows"}) == set()
    assert len(loaded) <= 548


def test_what_is_built_in_is_opened_without_a_scan_of_what_is_installed(tmp_path: Path) -> None:
    """A scan reads a file of every installed package: 4 ms where there are 60, and each run would pay for it."""
    assert {group for group in _run(OPENED, tmp_path).stdout.split() if group.startswith("playhead")} == set()


def _loaded_by(code: str, home: Path | None = None) -> set[str]:
    """The modules that a fresh interpreter has loaded once it ran this."""
    done = _run(f"import sys\n{code}\nprint(*sys.modules, sep='\\n', file=sys.stderr)", home)
    return set(done.stderr.split())


def _run(code: str, home: Path | None) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PLAYHEAD_")}
    env = bare | ({"PLAYHEAD_HOME": str(home)} if home is not None else {})
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
