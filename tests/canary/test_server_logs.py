"""A server's log holds allow-listed fields only: what each line of the server's side may say stands here, by its source.

Exceptions, requests and records reach a log through what is formatted into its lines. So every line's text is a constant, everything that
is put into it is named below with the reason why it may be, and nothing else of the server's side writes anywhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.rooms import SERVER_SIDE, modules, room_of

LEVELS: Final = {"debug", "info", "warning", "warn", "error", "critical", "exception", "log"}
LOGGERS: Final = {"log", "_log", "logger", "_logger", "logging"}
HOSTS: Final = ("hosting", "engine")  # they put a server's parts together, in its process

# (module, what is put into a line) and why a server's log may hold it.
ALLOWED: Final[Mapping[tuple[str, str], str]] = {
    ("playhead.server.boundary", "_described(error, scope)"): "class and place in our source, and a route as declared",
    ("playhead.server.connections", "limits.reading_seconds"): "a limit of this server's",
    (
        "playhead.failpoints",
        "sys.stderr.write writes past the log",
    ): "failpoints were armed, by name; off unless a test arms them",
    ("playhead.server.streams", "limits.send_seconds"): "a limit of this server's",
    ("playhead.service.background", "error.code"): "a word of the tree of errors",
    ("playhead.service.background", "_fault(error)"): "the system's name of a fault",
    ("playhead.service.background", "RETRY_SECONDS"): "a constant",
    ("playhead.service.service", "await self._store.head()"): "a position",
    ("playhead.service.service", "had_ended"): "a position",
    ("playhead.service.service", "len(active)"): "how many runs there are",
    ("playhead.service.clockwork", "flow.registered.flow"): "a declared name",
}
WRITES_OTHERWISE: Final = ("print", "warnings.warn", "traceback.print_exc", "sys.stderr.write", "sys.stdout.write")


def server_side() -> dict[str, ast.Module]:
    rooms = {*SERVER_SIDE, *HOSTS}
    return {name: ast.parse(path.read_text()) for name, path in modules().items() if room_of(name) in rooms}


def lines_of(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(module, source) of each thing that a line of a log holds, and of each other way to write somewhere."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        match call.func:
            case ast.Attribute(value=ast.Name(id=logger), attr=level) if logger in LOGGERS and level in LEVELS:
                text, *held = call.args[1:] if level == "log" else call.args
                if not isinstance(text, ast.Constant):
                    yield module, f"a text that is no constant: {ast.unparse(text)}"
                if level == "exception":
                    yield module, "the text of an exception"
                yield from ((module, ast.unparse(each)) for each in held)
                yield from ((module, f"{each.arg}={ast.unparse(each.value)}") for each in call.keywords)
            case function if ast.unparse(function) in WRITES_OTHERWISE:
                yield module, f"{ast.unparse(function)} writes past the log"
            case _:
                pass


def test_each_thing_that_a_line_holds_is_allowed() -> None:
    found = {line for module, tree in server_side().items() for line in lines_of(module, tree)}
    assert found - set(ALLOWED) == set(), "may a server's log hold this? then say why in ALLOWED"
    assert set(ALLOWED) - found == set(), "no line holds this any more"


@pytest.mark.parametrize(
    "line",
    [
        'log.error("it failed: %s", error)',
        'log.warning(f"no run {run}")',
        "log.info(request.url)",
        'log.exception("it failed")',
        'log.error("it failed", exc_info=True)',
        '_log.log(level, "%s", body)',
        'logging.warning("%r", data)',
        "print(body)",
        "sys.stderr.write(body)",
    ],
)
def test_a_line_that_says_more_is_found(line: str) -> None:
    assert set(lines_of("playhead.server.app", ast.parse(line))) - set(ALLOWED)
