"""A flow's result, for a person at a terminal, for a pipe, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic_core import PydanticSerializationError, to_jsonable_python
from rich.console import Group, RenderableType
from rich.pretty import Pretty
from rich.text import Text

from playhead.cli.rendering.tables import plain_table

MAX_ROWS: Final = 200  # of a result shown as a table
MAX_COLUMNS: Final = 12


def result_page(value: object) -> RenderableType:
    """At a terminal: rows of equal fields as a table, text as it is, everything else as Python writes it, in colour."""
    rows = _rows(value)
    if rows is not None:
        return _table(rows)
    return Text(value) if isinstance(value, str) else Pretty(value)


def result_text(value: object) -> RenderableType:
    """In a pipe: rows as a table without colour, text as it is, everything else as Python writes it."""
    rows = _rows(value)
    if rows is not None:
        return _table(rows)
    return Text(value if isinstance(value, str) else repr(value))


def result_json(value: object) -> Any:
    """As JSON types; what has no such form is given as Python writes it."""
    try:
        return to_jsonable_python(value, fallback=repr, inf_nan_mode="strings")
    except (PydanticSerializationError, ValueError, RecursionError):
        return repr(value)


def _rows(value: object) -> list[Mapping[str, object]] | None:
    """The value as rows, if it is a list of mappings with the same few text keys."""
    if not isinstance(value, list | tuple) or not value:
        return None
    items = list(cast("list[object]", value))
    if not all(isinstance(item, Mapping) for item in items):
        return None
    rows = cast("list[Mapping[str, object]]", items)
    names: list[object] = list(rows[0])
    fits = 0 < len(names) <= MAX_COLUMNS and all(isinstance(name, str) for name in names)
    return rows if fits and all(list(row) == names for row in rows) else None


def _table(rows: list[Mapping[str, object]]) -> RenderableType:
    table = plain_table(*rows[0])
    for column, name in zip(table.columns, rows[0], strict=True):
        if all(isinstance(row[name], int | float) for row in rows):
            column.justify = "right"
    for row in rows[:MAX_ROWS]:
        table.add_row(*(_cell(value) for value in row.values()))
    if len(rows) > MAX_ROWS:
        return Group(table, Text(f"{MAX_ROWS} of {len(rows):,} rows; --json has them all", style="dim"))
    return table


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else f"{value:.3f}" if isinstance(value, float) else repr(value)
