"""The live picture of a run: a bar for each map, one for the single tasks, and counts by state. Draws; folds nothing itself."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from playhead.cli.rendering.states import STYLES
from playhead.cli.rendering.tally import Row, Tally
from playhead.core.state import TaskStatus

FRAMES_PER_SECOND: Final = 8  # smooth to the eye, and no load
STEPS: Final = 10  # lines that a map gets where no terminal can redraw


class Picture(AbstractContextManager["Picture"], Protocol):
    """Shows a tally as it changes."""

    def show(self, tally: Tally) -> None: ...


def picture(console: Console, flow: str) -> Picture:
    """Bars on a terminal, lines elsewhere."""
    return Bars(console, flow) if console.is_terminal else Lines(console, flow)


class Bars(Picture):
    def __init__(self, console: Console, flow: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=True),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[counts]}", markup=True),
            console=console,
            refresh_per_second=FRAMES_PER_SECOND,
        )
        self._flow = self._progress.add_task(f"[bold]{flow}", total=None, counts="")
        self._bars: dict[str | None, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, tally: Tally) -> None:
        for row in tally.rows:
            if row.key not in self._bars:
                self._bars[row.key] = self._progress.add_task(f"  {row.key or 'tasks'}", total=row.total, counts="")
            self._progress.update(self._bars[row.key], total=row.total, completed=row.ended, counts=_counts(row))
        status = tally.status
        if status is not None:
            rows = tally.rows
            self._progress.update(
                self._flow,
                counts=f"[{STYLES[status]}]{status}",
                total=sum(row.total for row in rows) if status.terminal or rows else None,
                completed=sum(row.ended for row in rows),
            )


class Lines(Picture):
    """For pipes and files: a line when the run's state changes, and a few for each map."""

    def __init__(self, console: Console, flow: str) -> None:
        self._console = console
        self._flow = flow
        self._status: str | None = None
        self._told: dict[str | None, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, tally: Tally) -> None:
        status = tally.status
        ending = status is not None and status.terminal
        for row in tally.rows:
            step = row.ended * STEPS // row.total if row.total else STEPS
            if step > self._told.get(row.key, 0) if row.key is not None else ending:
                self._told[row.key] = step
                self._console.print(
                    f"  {row.key or 'tasks'}: {row.ended:,} of {row.total:,}{_failed(row)}", soft_wrap=True
                )
        if status is not None and status != self._status:
            self._status = status
            self._console.print(f"{self._flow}: {status}", soft_wrap=True)


def _counts(row: Row) -> str:
    shown = (TaskStatus.RUNNING, TaskStatus.RETRYING, TaskStatus.FAILED, TaskStatus.CANCELLED)
    return " ".join(
        f"[{STYLES[status]}]{row.counts[status]:,} {status}" + "[/]" for status in shown if row.counts[status]
    )


def _failed(row: Row) -> str:
    failed = row.counts[TaskStatus.FAILED]
    return f", {failed:,} failed" if failed else ""
