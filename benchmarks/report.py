"""The report: rows as a table for people and as JSON for later. Measures nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.harness import Effort, Question, Row, machine

WIDTH: Final = 160  # where no terminal bounds the table

_VERDICT: Final = {True: ("yes", "green"), False: ("no", "red"), None: ("", "")}


class Report:
    """Collects what each question answered; `effort` and the machine's facts stand beside it."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._machine = machine()
        self._began = datetime.now(UTC)
        self._answers: list[tuple[Question, list[Row]]] = []

    def add(self, question: Question, rows: list[Row]) -> None:
        self._answers.append((question, rows))

    def as_json(self) -> dict[str, Any]:
        return {
            "began": self._began.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": self._machine,
            "repeats": self._effort.repeats,
            "scale": self._effort.scale,
            "questions": [
                {"name": question.name, "asks": question.asks, "rows": [row.as_json() for row in rows]}
                for question, rows in self._answers
            ],
        }

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def print(self, console: Console) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("figure")
        for column in ("median", "range", "limit", "x limit", "goal", "reached"):
            table.add_column(column, justify="right", no_wrap=True)
        for question, rows in self._answers:
            table.add_row(Text(f"{question.name}: {question.asks}", style="bold cyan"))
            for row in rows:
                table.add_row(*_cells(row))
        console.print(table)
        if self._effort.scale != 1.0:
            console.print(f"The workloads were scaled by {self._effort.scale:g}: no figure to quote.", style="yellow")


def console() -> Console:
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=WIDTH)


def _cells(row: Row) -> list[str | Text]:
    limit = f"{row.limit.what} {_number(row.limit.median)}" if row.limit is not None else ""
    goal = f"{'≥' if row.is_rate else '≤'} {_number(row.goal)}" if row.goal is not None else ""
    spread = f"{_number(min(row.values))} … {_number(max(row.values))}" if len(row.values) > 1 else ""
    return [
        f"  {row.what}",
        f"{_number(row.median)} {row.unit}",
        spread,
        limit,
        f"{row.ratio:.1f}" if row.ratio is not None else "",
        goal,
        Text(*_VERDICT[row.reached]),
    ]


def _number(value: float) -> str:
    """Three digits that count, whole numbers in full."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
