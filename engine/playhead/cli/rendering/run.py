"""One run for a person: its head, its tasks with long maps as one row, and its failures with their tracebacks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from textwrap import indent
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from playhead.cli.moments import ago, took
from playhead.cli.rendering.elements import map_of
from playhead.cli.rendering.states import counts_line, styled
from playhead.cli.rendering.tables import plain_table
from playhead.core.state import TaskStatus
from playhead.core.views import ErrorView, RunView, TaskView

MAX_ELEMENTS: Final = 8  # of one map in rows of their own; a wider map is one row
MAX_FAILURES: Final = 20  # printed in full; a map that failed a thousand times failed the same way
MAX_UPSTREAM: Final = 4  # keys named in a row


def run_page(view: RunView, now: datetime) -> RenderableType:
    """What `show RUN` prints."""
    parts: list[RenderableType] = [run_head(view, now)]
    if view.tasks:
        parts += [Text(), tasks_table(view, now)]
    return Group(*parts)


def run_head(view: RunView, now: datetime) -> Text:
    lines = [Text.assemble((view.flow, "bold"), "  ", view.run_id, "  ", styled(view.state))]
    when = f"scheduled {ago(view.scheduled_for, now)}"
    if view.started_at:
        when += f" · started {ago(view.started_at, now)} · took {took(view.started_at, view.ended_at, now)}"
    lines.append(Text(f"  {when}"))
    if view.forgotten_at:
        lines.append(
            Text(
                f"  forgotten {ago(view.forgotten_at, now)}: its events were removed; what is in storage is there still"
            )
        )
    where = f"agent {view.agent}" if view.agent else "no agent yet"
    lines.append(Text(f"  {where} · attempt {view.attempt} · executor {view.executor} · run config {view.run_config}"))
    if view.labels:
        lines.append(Text(f"  labels {', '.join(view.labels)}"))
    lines.append(Text("  tasks ") + counts_line(view.counts))
    if view.losses:
        lines.append(Text(f"  its runner was lost {_times(view.losses)}", style="yellow"))
    if view.crash is not None:
        lines.append(Text(f"  crashed: {view.crash}", style="red"))
    if view.error is not None:
        where = f" in task {view.failed_task}" if view.failed_task else ""
        lines.append(Text(f"  failed{where}: {error_line(view.error)}", style="red"))
    return Text("\n").join(lines)


def tasks_table(view: RunView, now: datetime) -> RenderableType:
    table = plain_table("KEY", "TASK", "STATE", "ATTEMPT", "TOOK", "AFTER")
    for rows in _grouped(view):
        wide = len(rows) > MAX_ELEMENTS
        if wide:
            table.add_row(*_folded(rows))
        for task in (row for row in rows if not wide or row.state is TaskStatus.FAILED):
            table.add_row(
                task.key,
                task.name,
                styled(task.state),
                str(task.attempt),
                took(task.started_at, task.ended_at, now),
                _upstream(task.upstream),
            )
    return table


def failures_page(view: RunView) -> RenderableType:
    """What `show RUN --failures` adds: each failure's traceback as it was kept on the user's side."""
    failures = list(_failures(view))
    if not failures:
        return Text("nothing has failed in this run", style="dim")
    parts: list[RenderableType] = []
    for title, error in failures[:MAX_FAILURES]:
        parts.append(Text.assemble((title, "bold red"), f"  {error_line(error)}"))
        if error.traceback:
            parts.append(Text(indent(error.traceback.rstrip(), "  ")))
        parts.append(Text())
    if len(failures) > MAX_FAILURES:
        parts.append(Text(f"… and {len(failures) - MAX_FAILURES} failures more: --json has them all", style="dim"))
    return Group(*parts)


def error_line(error: ErrorView) -> str:
    """The exception's type and first line where they are known here, else what the server knows: its category."""
    what = error.type or str(error.category)
    first = (error.message or "").partition("\n")[0]
    return f"{what}: {first}" if first else what


def _failures(view: RunView) -> Iterator[tuple[str, ErrorView]]:
    if view.error is not None:
        yield f"flow {view.flow}", view.error
    for task in view.tasks:
        if task.error is not None:
            retried = " (to be retried)" if task.state is TaskStatus.RETRYING else ""
            yield f"task {task.key}, attempt {task.attempt}{retried}", task.error


def _grouped(view: RunView) -> list[list[TaskView]]:
    """Tasks in the order in which the flow asked for them, elements of one map together."""
    maps = {mapped.key for mapped in view.maps}
    groups: defaultdict[str, list[TaskView]] = defaultdict(list)
    for task in view.tasks:
        groups[map_of(task.key, maps) or f"={task.key}"].append(task)
    return list(groups.values())


def _folded(rows: Sequence[TaskView]) -> tuple[Text | str, ...]:
    states = Counter(row.state.value for row in rows)
    ended = [row.ended_at for row in rows if row.ended_at]
    begun = [row.started_at for row in rows if row.started_at]
    spent = took(min(begun), max(ended), datetime.fromisoformat(max(ended))) if begun and ended else "-"
    base = rows[0].key.rpartition(".")[0]
    most = max(row.attempt for row in rows)
    after = tuple(dict.fromkeys(_base(key) for key in rows[0].upstream))
    return f"{base}.*  ×{len(rows):,}", rows[0].name, counts_line(states), str(most), spent, _upstream(after)


def _base(key: str) -> str:
    base, dot, index = key.rpartition(".")
    return f"{base}.*" if dot and index.isdecimal() else key


def _upstream(keys: Sequence[str]) -> str:
    if len(keys) <= MAX_UPSTREAM:
        return ", ".join(keys) or "-"
    return f"{', '.join(keys[:MAX_UPSTREAM])} and {len(keys) - MAX_UPSTREAM} more"


def _times(number: int) -> str:
    """1 → once, 2 → twice, 3 → 3 times."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
