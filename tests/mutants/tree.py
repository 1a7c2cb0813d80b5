"""A tree: a copy of the project in a folder of its own, with an interpreter that imports from there whatever its environment says.

Owns copying, that interpreter, running pytest in it, and that nothing of it runs on afterwards. Judges nothing.

An environment variable is not enough to lead imports into the copy: tests start processes with environments of their own. So the copy has
a virtual environment, whose `python` finds the copy before anything else and then what the environment of this process has.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
import venv
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.mutants.mutant import Mutant
from tests.mutants.witness import PLUGIN, REPORT_VARIABLE

COPIED: Final = ("engine", "adapters", "tests", "docs", "benchmarks", "pyproject.toml", "README.md", "Makefile")
LONGEST_SECONDS: Final = 170.0  # of one run of pytest: the longest bound of a test in the lanes, and no more
_END_SECONDS: Final = 10.0  # for a killed process to be gone


@dataclass(frozen=True, slots=True)
class Phase:
    """How one phase of one test went, as the witness saw it. `error` is the exception's type, `text` what pytest says of it."""

    test: str
    when: str  # setup, call, teardown, or collect
    outcome: str  # passed, failed, skipped
    error: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of pytest: where its `playhead` came from, its phases, and all that it printed."""

    product: str
    phases: list[Phase] = field(default_factory=list[Phase])
    output: str = ""
    too_long: bool = False


class Tree:
    """A copy of the project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._python = root / ".venv" / "bin" / "python"

    def pytest(self, tests: Sequence[str], options: Sequence[str]) -> Ran:
        """Run these tests here, to their end or to the longest time."""
        report = self.root / "witnessed.jsonl"
        given = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
        environment = {**given, REPORT_VARIABLE: str(report)}
        command = [str(self._python), "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-q", *options, *tests]
        with (self.root / "printed").open("w+b") as out:
            process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
            try:
                process.wait(LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return _ran(report, self.root / "printed", too_long=True)
            finally:
                self._end_what_runs()
        return _ran(report, self.root / "printed")

    def _end_what_runs(self) -> None:
        """A broken product may leave processes behind. Those of this tree are known by their interpreter, which nothing else uses."""
        left = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:  # it went by itself
                continue
        psutil.wait_procs(left, timeout=_END_SECONDS)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.cmdline()[:1] == [str(self._python)]
        except psutil.Error:
            return False


@contextmanager
def kept(source: Path) -> Generator[Path]:
    """A copy of the project at `source` as it is now, compiled, to make trees of: whoever edits `source` meanwhile disturbs nothing."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder).resolve()
        for name in COPIED:
            if (source / name).is_dir():
                shutil.copytree(source / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
            elif (source / name).exists():
                shutil.copy2(source / name, root / name)
        folders = [str(root / name) for name in COPIED if (root / name).is_dir()]
        subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=True, timeout=LONGEST_SECONDS)
        yield root


@contextmanager
def planted(source: Path, mutant: Mutant | None = None) -> Generator[Tree]:
    """A tree made of what `kept` gave, with the bug in it if there is one; gone at the end. Raises BadPatch."""
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve() / "it"
        shutil.copytree(source, root)
        if mutant is not None:
            mutant.apply(root)
            for name in mutant.changed_files():  # an interpreter tells by the second, and by the size, what it compiled
                for compiled in (root / name).parent.glob(f"__pycache__/{Path(name).stem}.*"):
                    compiled.unlink()
        _make_interpreter(root)
        yield Tree(root)


def _make_interpreter(root: Path) -> None:
    venv.create(root / ".venv", symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = root / ".venv" / "lib" / version / "site-packages"
    others = [f"import site; site.addsitedir({folder!r})" for folder in site.getsitepackages()]
    (found / "_here_first.pth").write_text("\n".join([str(root / "engine"), str(root / "adapters"), *others]) + "\n")


def _ran(report: Path, printed: Path, *, too_long: bool = False) -> Ran:
    output = printed.read_text(encoding="utf-8", errors="replace")
    lines: list[dict[str, Any]] = []
    if report.exists():
        lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
        report.unlink()
    product = next((line["product"] for line in lines if "product" in line), "")
    return Ran(product, [Phase(**line) for line in lines if "product" not in line], output, too_long)
