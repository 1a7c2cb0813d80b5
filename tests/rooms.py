"""The rooms of the engine, and which may import which. Owns that table, and the reading of imports from source; imports none of it.

A room is a package or a single module directly under `playhead`. The table is in order: a room may import only from rooms above it,
so imports point one way. `core.replay` is a room of its own, because it alone in the core reads what a store returns. What stands under
`if TYPE_CHECKING` does not count; an import inside a function does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = {"playhead": ROOT / "engine", "playhead_adapters": ROOT / "adapters"}

MAY_IMPORT: Final[Mapping[str, tuple[str, ...]]] = {
    # both sides
    "errors": (),
    "failpoints": ("errors",),
    "installed": ("errors",),
    "background": (),
    "core": ("errors",),
    "ports": ("core",),
    "core.replay": ("core", "ports"),
    "wire": ("errors", "core", "ports"),
    # the server's side: facts only
    "log": ("errors", "failpoints", "core", "ports"),
    "service": ("errors", "failpoints", "core", "core.replay", "ports", "log"),
    "server": ("errors", "core", "ports", "wire"),
    # neither: what is done to a log as a whole
    "upkeep": ("errors", "core", "core.replay", "ports", "log"),
    # the user's side: code, data, keys
    "settings": ("errors",),
    "credentials": ("errors", "core", "settings"),
    "executors": ("errors", "installed", "ports", "settings"),
    "storage": ("errors", "ports"),
    "trust": ("errors", "core", "ports", "storage"),
    "journal": ("errors", "failpoints", "core", "ports", "trust"),
    "home": ("errors", "ports", "settings", "storage", "trust"),
    "flows": ("errors", "core", "executors", "trust"),
    "client": ("errors", "core", "ports", "wire", "settings", "credentials", "trust", "journal", "home", "flows"),
    "runner": ("errors", "failpoints", "core", "core.replay", "ports", "storage", "trust", "journal", "flows", "client"),
    "zygote": ("errors", "failpoints", "executors", "runner"),
    "agent": (
        "errors", "failpoints", "installed", "background", "core", "ports", "settings", "storage", "trust", "journal", "home", "runner",
        "zygote",
    ),
    # where the sides are put together
    "hosting": ("errors", "background", "ports", "log", "service", "server", "home", "client"),
    "embedded": ("core", "ports", "trust", "home", "flows", "runner", "hosting"),
    "engine": ("errors", "ports", "log", "service", "server", "settings", "home", "client"),
    # beside the engine: of it only the command line imports this, for `playhead store check`
    "testing": ("errors", "core", "ports", "log", "runner", "agent", "engine"),
    "cli": (
        "errors", "background", "core", "core.replay", "ports", "server", "settings", "credentials", "trust", "home", "flows", "client",
        "agent", "hosting", "embedded", "testing", "log", "upkeep",
    ),
    # nothing of it imports these
    "adapters": ("errors", "background", "core", "ports", "log", "executors", "trust", "home", "flows", "runner", "agent"),
}  # fmt: skip

SERVER_SIDE: Final = ("errors", "failpoints", "core", "ports", "core.replay", "wire", "log", "service", "server")

# Against the order, inside functions only: (module, room) and why it cannot be otherwise.
CALLS_BACK: Final[Mapping[tuple[str, str], str]] = {
    (
        "playhead.flows.flow",
        "embedded",
    ): "a flow that is called runs itself, and only such a program pays for the engine",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One module imported by another, at a line of it; `late` where that stands inside a function."""

    module: str
    target: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}, imports {self.target}"


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the engine and the adapters by its name, and its file."""
    found: dict[str, Path] = {}
    for package, source in SOURCES.items():
        for path in sorted((source / package).rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str | None:
    """The room that a module belongs to; None for `playhead` itself, which imports nothing, and for what is not ours."""
    package, *rest = module.split(".")
    if package == "playhead_adapters":
        return "adapters"
    if package != "playhead" or not rest:
        return None
    return "core.replay" if rest[:2] == ["core", "replay"] else rest[0]


@cache
def all_imports() -> tuple[Import, ...]:
    """What every module of ours imports."""
    known = modules()
    return tuple(
        found for name, path in known.items() for found in imports_in(path.read_text(encoding="utf-8"), name, known)
    )


def imports_in(source: str, module: str, known: Mapping[str, object]) -> list[Import]:
    """The imports in a source. `from package import name` is of `package.name` where that is a module in `known`."""
    return list(_visit(ast.parse(source), module, known, late=False))


def _visit(node: ast.AST, module: str, known: Mapping[str, object], *, late: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            yield from (Import(module, alias.name, node.lineno, late) for alias in names)
        case ast.ImportFrom(module=str() as package, level=0, names=names):
            whole = [f"{package}.{alias.name}" for alias in names]
            yield from (Import(module, name if name in known else package, node.lineno, late) for name in whole)
        case ast.ImportFrom():
            raise AssertionError(f"{module}, line {node.lineno}: relative imports are not used here")
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
            for branch in otherwise:
                yield from _visit(branch, module, known, late=late)
        case _:
            inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from _visit(child, module, known, late=inside)
