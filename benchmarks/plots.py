# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (matplotlib's own types leave **kwargs open)
"""The plot of a report: how each cost grows, one small panel for each. Owns how curves look; measures nothing.

On white, so that it can be read on a page of any colour; both axes are logarithmic, so that a cost for each that stays the same is level,
and one that grows in step is a line at 45 degrees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.typing import RcKeyType

from benchmarks.harness import Row
from benchmarks.report import Curve, Report
from benchmarks.tables import number

COLUMNS: Final = 3
PANEL_INCHES: Final = (4.6, 3.4)
TITLE_INCHES: Final = 0.6
DOTS_AN_INCH: Final = 110  # of a PNG

LINES: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # told apart by colour-blind readers, too
PEERS: Final = ("s", "^", "D", "v", "P", "X")
GOAL: Final = "#2a7f2a"
FLOOR: Final = "#b8860b"
QUIET: Final = "#777777"

_STYLE: Final[dict[RcKeyType, Any]] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": QUIET,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 7.5,
    "text.color": "#222222",
    "svg.hashsalt": "playhead",  # the same figures make the same file
}


def draw(report: Report, path: Path) -> bool:
    """Into an SVG or a PNG, by the path's suffix. False, and no file, if no question gave a curve of two points."""
    with rc_context(_STYLE):
        figure = figure_of(report)
        if figure is None:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the time of drawing in it: the same figures make the same file.
        figure.savefig(path, dpi=DOTS_AN_INCH, metadata={"Date": None} if path.suffix == ".svg" else {})
    return True


def figure_of(report: Report) -> Figure | None:
    panels = _panels(report)
    if not panels:
        return None
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + TITLE_INCHES), layout="constrained")
    for index, ((title, _), curves) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), title, curves, report)
    cores, memory = report.machine["cores"], report.machine["memory_gib"]
    figure.suptitle(
        f"How cost grows: medians and ranges; {cores} cores, {memory:.0f} GiB, {report.began[:10]}", fontsize=11
    )
    return figure


def _panels(report: Report) -> dict[tuple[str, str], list[Curve]]:
    """By title and x: panels of one name over unlike sizes are two."""
    found: dict[tuple[str, str], list[Curve]] = {}
    for curve in report.curves():
        if len(curve.rows) > 1:
            found.setdefault((curve.panel, curve.x), []).append(curve)
    return found


def _draw_panel(axes: Axes, title: str, curves: list[Curve], report: Report) -> None:
    first = curves[0].rows[0][1]
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(curves[0].x)
    axes.set_ylabel(first.unit)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    for colour, curve in zip(LINES, curves, strict=False):
        _draw_curve(axes, curve, colour)
    _draw_limit(axes, curves[0])
    _draw_bounds(axes, [row for curve in curves for _, row in curve.rows])
    _draw_peers(axes, curves, report)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_tick))
        axis.set_minor_formatter(NullFormatter())
    axes.legend(loc="best", framealpha=0.9, edgecolor="none")


def _tick(value: float, _: int) -> str:
    return number(value)


def _draw_curve(axes: Axes, curve: Curve, colour: str) -> None:
    at = [size for size, _ in curve.rows]
    rows = [row for _, row in curve.rows]
    axes.plot(at, [row.median for row in rows], marker="o", markersize=4, color=colour, label=curve.line or "ours")
    axes.fill_between(
        at, [min(row.values) for row in rows], [max(row.values) for row in rows], color=colour, alpha=0.15, lw=0
    )


def _draw_limit(axes: Axes, curve: Curve) -> None:
    """What the same run could not beat, where it was measured."""
    found = [(at, row.limit) for at, row in curve.rows if row.limit is not None]
    if found:
        label = f"limit: {found[0][1].what}"
        axes.plot(
            [at for at, _ in found], [limit.median for _, limit in found], color=QUIET, lw=1, marker=".", label=label
        )


def _draw_bounds(axes: Axes, rows: list[Row]) -> None:
    for name, colour, style, bounds in (
        ("goal", GOAL, "--", {row.goal for row in rows}),
        ("floor", FLOOR, ":", {row.floor for row in rows}),
    ):
        for bound in sorted(each for each in bounds if each is not None):
            axes.axhline(bound, color=colour, linestyle=style, linewidth=1.1, label=f"{name} {number(bound)}")


def _draw_peers(axes: Axes, curves: list[Curve], report: Report) -> None:
    """At the size at which the same was asked of them."""
    points = [(at, row) for curve in curves for at, row in curve.rows if row.measure is not None]
    for at, row in points:
        assert row.measure is not None
        for marker, (peer, theirs) in zip(PEERS, report.beside(row.measure), strict=False):
            axes.plot([at], [theirs.median], marker=marker, color=QUIET, ls="", ms=5, label=peer)
