"""What each kind of process imports, as sets of packages and a bound on their modules: start-up is imports, and each stays where it is.

A process that begins to import one of the packages it is said to do without has become slower to start by what that package
costs, for everybody. Move the import to where it is used, or say here why the process cannot do without it any more.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
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
        "import playhead.cli.actions.serve", PRINTING | ASKING | UNPICKLING | {"fastapi", "playhead.agent"}, 450
    ),
    "a command that looks": Process("import playhead.cli.actions.look", SERVING | ASKING, most_modules=440),
    "a runner": Process("import playhead.runner.__main__", PRINTING | SERVING | ASKING | {"sqlite3"}, most_modules=370),
    "a flow that is called": Process("import playhead.embedded", PRINTING | SERVING | ASKING, most_modules=380),
}


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_process_imports_what_it_needs(kind: str) -> None:
    process = PROCESSES[kind]
    loaded = _loaded_by(process.code)
    assert loaded & set(process.without) == set()
    assert len(loaded) <= process.most_modules


def _loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded once it ran this."""
    code = f"import sys\n{code}\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    return set(done.stderr.split())
