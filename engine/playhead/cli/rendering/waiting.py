"""What a run waits for, for a person: the reason and what helps first, then how each agent stands to it, and its tasks."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from playhead.cli.moments import ago, span
from playhead.cli.rendering.run import error_line
from playhead.cli.rendering.states import styled
from playhead.cli.rendering.tables import plain_table
from playhead.core.standings import AgentStanding
from playhead.core.task_waits import TaskWaiting, TaskWaitsFor
from playhead.core.views import ErrorView
from playhead.core.waiting import RunWaiting


def waiting_page(waiting: RunWaiting, now: datetime, error: ErrorView | None = None) -> RenderableType:
    """What `why RUN` prints. `error`: what ended a run that failed, as it reads on the user's side."""
    head = Text.assemble((waiting.flow, "bold"), "  ", waiting.run_id, "  ", styled(waiting.state))
    lines = [head, Text(f"  {waiting.because}" + (f" ({ago(waiting.due, now)})" if waiting.due else ""))]
    if error is not None:
        lines.append(Text(f"  {error_line(error)}", style="red"))
    if waiting.lost is not None:
        lines.append(Text(f"  {waiting.lost}", style="yellow"))
    if waiting.help is not None:
        lines.append(Text(f"  {waiting.help}", style="dim"))
    parts: list[RenderableType] = [Text("\n").join(lines)]
    if waiting.agents:
        parts += [Text(), _agents_table(waiting.agents)]
    if waiting.tasks:
        parts += [Text(), _tasks_table(waiting.tasks, now)]
    return Group(*parts)


def _agents_table(agents: tuple[AgentStanding, ...]) -> Table:
    table = plain_table("AGENT", "KIND", "STANDING", "LACKS", "RUNS", "LAST HEARD OF")
    for one in agents:
        lacks = ", ".join(f"{lack.what} {' '.join(lack.wanted)}" for lack in one.lacks)
        heard = "-" if one.last_contact_seconds is None else f"{span(one.last_contact_seconds)} ago"
        table.add_row(one.agent, one.kind, one.standing, lacks or "-", f"{one.busy} of {one.capacity}", heard)
    return table


def _tasks_table(tasks: tuple[TaskWaiting, ...], now: datetime) -> Table:
    table = plain_table("TASK", "STATE", "WAITS FOR")
    for task in tasks:
        table.add_row(task.key, styled(task.state), _reason(task, now))
    return table


def _reason(task: TaskWaiting, now: datetime) -> str:
    match task.waits_for:
        case TaskWaitsFor.TASKS:
            return ", ".join(task.on)
        case TaskWaitsFor.TIME:
            return f"attempt {task.attempt + 1}, {ago(task.until, now)}"
        case TaskWaitsFor.EXECUTOR:
            return "room in the executor"
        case TaskWaitsFor.RESULT:
            return "its result: it is computed"
        case TaskWaitsFor.NOTHING:
            return "-"
