"""The tables of a report: for a terminal, and as Markdown. Owns how figures are written; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.harness import Reached, Row
from benchmarks.report import Report

WIDTH: Final = 170  # what the widest table needs, with three peers
FIGURE_WIDTH: Final = 34  # of the first column at the least: names wrap before figures do

_COLOURS: Final = {"goal": "green", "floor": "yellow", "no": "red"}
_ASKED: Final = ("figure", "ours", "range", "floor", "goal", "reached", "limit")
_OTHER: Final = ("figure", "median", "range", "limit")
_PEERS: Final = ("peer", "median", "range")
_IN_BRACKETS: Final = "In brackets: how many times its limit ours takes; how many times ours a peer takes."


def console() -> Console:
    """At least as wide as the tables: a narrow terminal breaks their lines, but loses no figure."""
    found = Console(highlight=False, markup=False)
    return Console(highlight=False, markup=False, width=max(WIDTH, found.width))


def show(report: Report, console: Console) -> None:
    """First what has a floor or a goal, beside the peers; then what else was measured; then how the peers were asked."""
    for columns, lines in _tables(report):
        _show_table(console, columns, lines)
    for note in _notes(report):
        console.print(note, style="yellow")


def markdown(report: Report) -> Iterator[str]:
    """The same as lines of Markdown, each table under the names of its columns."""
    for columns, lines in _tables(report):
        yield f"| {' | '.join(columns)} |"
        yield f"|{'---|' * len(columns)}"
        for line in lines:
            cells = [f"**{line}**", *[""] * (len(columns) - 1)] if isinstance(line, str) else line
            yield f"| {' | '.join(cells)} |"
        yield ""
    yield from _notes(report)


# A heading, or the cells of a row.
Line = str | list[str]


def _tables(report: Report) -> Iterator[tuple[tuple[str, ...], list[Line]]]:
    """The columns and lines of those that have any."""
    for columns, lines in (
        ((*_ASKED, *(peer.name for peer in report.peers)), _asked_lines(report)),
        (_OTHER, _other_lines(report)),
        (_PEERS, _peer_lines(report)),
    ):
        if found := list(lines):
            yield columns, found


def _asked_lines(report: Report) -> Iterator[Line]:
    for answer in report.answers:
        rows = [row for row in answer.rows if row.reached is not None]
        if rows:
            yield answer.name
        for row in rows:
            yield [
                row.what, _with_unit(row), _spread(row), _bound(row, row.floor), _bound(row, row.goal),
                str(row.reached), _limit(row), *_beside(report, row),
            ]  # fmt: skip


def _other_lines(report: Report) -> Iterator[Line]:
    for answer in report.answers:
        rows = [row for row in answer.rows if row.reached is None]
        if rows:
            yield answer.name
        for row in rows:
            yield [row.what, _with_unit(row), _spread(row), _limit(row)]


def _peer_lines(report: Report) -> Iterator[Line]:
    for peer in report.peers:
        yield f"{peer.name}: {peer.asks}"
        for row in peer.rows:
            yield [row.what, _with_unit(row), _spread(row)]


def _notes(report: Report) -> Iterator[str]:
    yield _IN_BRACKETS
    for peer, reason in report.missing.items():
        yield f"{peer}: {reason}"
    if report.effort.scale != 1.0:
        yield f"The workloads were scaled by {report.effort.scale:g}: no figure to quote."


def _beside(report: Report, row: Row) -> list[str]:
    """For each peer its figure, and how many times worse than ours it is."""
    theirs = dict(report.beside(row.measure)) if row.measure is not None else {}
    return [
        f"{number(theirs[peer.name].median)} ({number(theirs[peer.name].times_worse_than(row.median))})"
        if peer.name in theirs
        else ""
        for peer in report.peers
    ]


def _limit(row: Row) -> str:
    limit, ratio = row.limit, row.ratio
    return "" if limit is None or ratio is None else f"{limit.what} {number(limit.median)} ({number(ratio)})"


def _with_unit(row: Row) -> str:
    return f"{number(row.median)} {row.unit}"


def _spread(row: Row) -> str:
    return f"{number(min(row.values))} … {number(max(row.values))}" if len(row.values) > 1 else ""


def _bound(row: Row, bound: float | None) -> str:
    return "" if bound is None else f"{'≥' if row.is_rate else '≤'} {number(bound)}"


def number(value: float) -> str:
    """Three digits that count, whole numbers in full."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _show_table(console: Console, columns: Iterable[str], lines: Iterable[Line]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    first, *others = columns
    table.add_column(first, min_width=FIGURE_WIDTH)
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        if isinstance(line, str):
            table.add_row(Text(line, style="bold cyan"))
        else:
            what, *cells = line
            table.add_row(f"  {what}", *(Text(cell, style=_COLOURS.get(cell, "")) for cell in cells))
    console.print(table)
    console.print()


assert set(_COLOURS) == {str(reached) for reached in Reached}
