"""A census of Python's own standard library: a map over 1,500 files and more, a reduction to a table, and a task that needs
two attempts.

playhead run docs/examples/census.py:census --watch
"""

import ast
import sys
import sysconfig
import tokenize
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from playhead import ProcessExecutor, current_run, flow, get_logger, task

NOT_OURS = {"site-packages", "dist-packages", "__pycache__"}


@dataclass
class Counted:
    """What one file, or all files of one package, hold."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: int = 0
    unparsable: list[str] = field(default_factory=list)

    def add(self, other: "Counted") -> None:
        self.files += other.files
        self.lines += other.lines
        self.functions += other.functions
        self.classes += other.classes
        self.imports += other.imports
        self.unparsable += other.unparsable


@task
def find_files() -> list[str]:
    """Every .py file of the running interpreter's standard library, relative to its root."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = (path.relative_to(root) for path in root.rglob("*.py"))
    found = sorted(path.as_posix() for path in paths if not NOT_OURS.intersection(path.parts))
    get_logger().info("found %d files", len(found))
    return found


@task(retries=1, retry_delay=timedelta(milliseconds=200))
def interpreter() -> str:
    """The interpreter that was counted. Fails on its first attempt, so that you see a retry."""
    if current_run().attempt == 1:
        raise ConnectionError("the first attempt always fails: this is only to show a retry")
    return f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"


@task
def count(path: str) -> Counted:
    """Parse one file and count what is in it. Some of the library's own test data cannot be parsed, on purpose."""
    file = Path(sysconfig.get_path("stdlib")) / path
    try:
        with tokenize.open(file) as source:
            text = source.read()
        tree = ast.parse(text, filename=path)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return Counted(files=1, lines=file.read_bytes().count(b"\n"), unparsable=[path])
    counted = Counted(files=1, lines=text.count("\n"))
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                counted.functions += 1
            case ast.ClassDef():
                counted.classes += 1
            case ast.Import() | ast.ImportFrom():
                counted.imports += 1
    return counted


@task
def table(paths: list[str], counts: list[Counted], python: str) -> list[dict[str, object]]:
    """One row for each package, largest first, and one for all of it."""
    packages: defaultdict[str, Counted] = defaultdict(Counted)
    total = Counted()
    for path, counted in zip(paths, counts, strict=True):
        package = path.partition("/")[0] if "/" in path else "(modules)"
        packages[package].add(counted)
        total.add(counted)
    largest = sorted(packages.items(), key=lambda item: item[1].lines, reverse=True)
    rows = [*largest[:12], (f"all {len(packages)} packages of {python}", total)]
    return [
        {
            "package": name,
            "files": counted.files,
            "lines": counted.lines,
            "functions": counted.functions,
            "classes": counted.classes,
            "imports": counted.imports,
            "unparsable": len(counted.unparsable),
        }
        for name, counted in rows
    ]


@flow(executor=ProcessExecutor())
def census(limit: int | None = None) -> list[dict[str, object]]:
    """Count all of the standard library, or its first `limit` files."""
    python = interpreter.submit()
    paths = find_files()[:limit]
    counts = count.map(paths)
    return table.submit(paths, counts, python).result()


if __name__ == "__main__":
    for row in census():
        print(row)
