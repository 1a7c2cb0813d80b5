"""Where commands write: results to stdout, everything else to stderr. Owns the consoles and the form of JSON.

Nothing printed is read as Rich markup: a user's text may hold brackets.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import orjson

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH: Final = 200  # of tables that no terminal bounds: wide enough that no column is cut


def stdout() -> Console:
    return _console(sys.stdout)


def stderr() -> Console:
    return _console(sys.stderr)


def print_json(value: Any) -> None:
    """One JSON value, indented for a person, compact for a pipe's sake when it is not."""
    options = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(orjson.dumps(value, default=str, option=options | orjson.OPT_NON_STR_KEYS).decode() + "\n")


def print_json_line(value: Any) -> None:
    """One JSON value in one line, at once: somebody may be reading along."""
    sys.stdout.write(orjson.dumps(value, default=str).decode() + "\n")
    sys.stdout.flush()


def _console(file: TextIO) -> Console:
    from rich.console import Console  # what is printed for programs does without it

    width = None if file.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)
