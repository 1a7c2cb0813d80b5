"""The parts of the docs that are made from the code. Owns how each is made and where it stands; writes only when run as a program.

    .venv/bin/python -m tests.docs.generated

writes them anew; `tests/docs/test_pages.py` fails while a page and the code differ. A part stands between two comments in its page:
`<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import typer

from playhead.cli.app import app
from playhead.core.events import Event
from playhead.core.lifecycle import RUN_TRANSITIONS, TASK_TRANSITIONS
from playhead.core.state import RunStatus, TaskStatus
from playhead.testing import executors, infrastructures
from playhead.testing.checks import Suite
from playhead.testing.stores import STORE_CHECKS, SUBJECTS
from tests.docs import limits
from tests.docs.pages import DOCS, all_pages
from tests.mutants.mutant import all_mutants
from tests.rooms import CALLS_BACK, MAY_IMPORT, SERVER_SIDE, modules

SHARED: Final = (
    "server",
    "home",
    "json",
)  # options that most commands have: their help stands once, above the commands

_PART: Final = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    for page in generated_pages():
        page.write_text(renewed(page), encoding="utf-8")


def generated_pages() -> list[Path]:
    """The pages that have a generated part."""
    return [page for page in all_pages() if _PART.search(page.read_text(encoding="utf-8"))]


def renewed(page: Path) -> str:
    """The page as it should be."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part['name']]()}\n\n", page.read_text(encoding="utf-8"))


def run_lifecycle() -> str:
    return _lifecycle(RUN_TRANSITIONS)


def task_lifecycle() -> str:
    return _lifecycle(TASK_TRANSITIONS)


def rooms() -> str:
    """Every room, what it owns in the words of its own docstring, and what it may import."""
    rows = [
        (f"`{room}`", _owns(room), "yes" if room in SERVER_SIDE else "", ", ".join(allowed) or "nothing of ours")
        for room, allowed in MAY_IMPORT.items()
    ]
    back = [f"- `{module}` calls `{room}` from inside a function: {why}." for (module, room), why in CALLS_BACK.items()]
    return "\n".join([_table(("room", "owns", "on a server", "may import"), rows), "", *back])


def mutants() -> str:
    """Every planted bug, with the promise that it breaks and the test that sees it."""
    rows = [
        (", ".join(each.promises), f"`{each.name}`", each.bug, f"`{each.test.rpartition('::')[2]}`")
        for each in all_mutants()
    ]
    return _table(("promise", "bug", "what it is", "seen by"), rows)


def commands() -> str:
    """The command line, command by command."""
    leaves = list(_leaves("playhead", typer.main.get_command(app)))
    options = {option.name: option for _, command in leaves for option in command.params if option.name in SHARED}
    head = _table(("shared option", ""), [(_spelled(options[name]), options[name].help) for name in SHARED])
    return "\n\n".join([head, *(_told(path, command) for path, command in leaves)])


def server_limits() -> str:
    return _table(limits.HEAD, limits.rows())


def store_checks() -> str:
    """The checks of event stores, subject by subject; beside a name what its docstring adds."""
    parts: list[str] = []
    for subject in SUBJECTS:
        names = [name for name in STORE_CHECKS.names if name in vars(subject)]
        told = [" ".join((vars(subject)[name].__doc__ or "").split()) for name in names]
        about = " ".join((subject.__doc__ or "").split("\n\n")[0].split()).replace(" Checks only.", "")
        parts += [about, _table(("check", ""), [(f"`{name}`", text) for name, text in zip(names, told, strict=True)])]
    return "\n\n".join(parts)


def executor_checks() -> str:
    return _checks(executors.EXECUTOR_SUITE, vars(executors))


def infrastructure_checks() -> str:
    return _checks(infrastructures.INFRASTRUCTURE_SUITE, vars(infrastructures))


def _checks(suite: Suite[Any], module: Mapping[str, Any]) -> str:
    """The checks of a suite of functions by name, with what a docstring adds."""
    told = {name: " ".join((module[name].__doc__ or "").split()) for name in suite.names}
    return "\n".join(f"- `{name}`" + (f": {text}" if text else "") for name, text in told.items())


def decisions() -> str:
    """The decision records by number and title."""
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    titles = [re.sub(r"^# \d+[.:]? ", "", path.read_text(encoding="utf-8").split("\n")[0]) for path in records]
    return "\n".join(f"- [{path.name[:4]}]({path.name}) {title}" for path, title in zip(records, titles, strict=True))


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "run-lifecycle": run_lifecycle,
    "task-lifecycle": task_lifecycle,
    "rooms": rooms,
    "commands": commands,
    "decisions": decisions,
    "store-checks": store_checks,
    "executor-checks": executor_checks,
    "infrastructure-checks": infrastructure_checks,
    "server-limits": server_limits,
    "mutants": mutants,
}


def _lifecycle(
    transitions: Mapping[tuple[RunStatus | None, type[Event]], RunStatus]
    | Mapping[tuple[TaskStatus | None, type[Any]], TaskStatus],
) -> str:
    rows: list[tuple[str, str]] = []
    for status, changes in groupby(transitions.items(), key=lambda each: each[0][0]):
        told = ", ".join(f"`{event.TYPE}` → {after.value}" for (_, event), after in changes)
        rows.append((status.value if status is not None else "(not there yet)", told))
    return _table(("state", "event → next state"), rows)


def _owns(room: str) -> str:
    package = "playhead_adapters" if room == "adapters" else f"playhead.{room}"
    first = (ast.get_docstring(ast.parse(modules()[package].read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return " ".join(first.split())


def _leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    below: Mapping[str, Any] | None = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, each in below.items():
        yield from _leaves(f"{path} {name}", each)


def _told(path: str, command: Any) -> str:
    own = [each for each in command.params if each.name not in SHARED]
    arguments = [each for each in own if not each.opts[0].startswith("-")]
    options = [each for each in own if each.opts[0].startswith("-")]
    shared = [f"`--{each.name}`" for each in command.params if each.name in SHARED]
    rows = [(f"`{_value(each)}`", each.help) for each in arguments]
    rows += [(_spelled(each), each.help) for each in options]
    help_text = "\n".join(line.rstrip() for line in command.help.splitlines())
    parts = [f"## {path}", f"    {' '.join([path, *map(_value, arguments), '[OPTIONS]'])}", help_text]
    parts += [_table(("", ""), rows)] if rows else []
    parts += [f"And {', '.join(shared)}."] if shared else []
    return "\n\n".join(parts)


def _spelled(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    return f"`{names}`" if option.is_flag else f"`{names} {_value(option)}`"


def _value(parameter: Any) -> str:
    """How the value of an argument or an option is written."""
    return str(parameter.metavar or parameter.opts[-1].strip("-").upper())


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main()
