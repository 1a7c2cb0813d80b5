"""The lists: flows, runs and agents as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from playhead.cli.moments import ago, span, took
from playhead.cli.rendering.states import counts_line, styled
from playhead.core.events import Schedule
from playhead.core.views import RunSummary
from playhead.ports.server import AgentView, FlowView, TokenView

# Of a run's id in a table: 48 bits, so that nobody sees two alike, and every command takes a prefix
ID_DIGITS: Final = 12

MAX_RUNS: Final = 3  # of an agent, named in its row; `playhead runs` lists all


def runs_table(runs: Iterable[RunSummary], now: datetime) -> Table:
    table = plain_table("RUN", "FLOW", "STATE", "SCHEDULED", "TOOK", "TASKS", "AGENT")
    for run in runs:
        table.add_row(
            run.run_id[:ID_DIGITS],
            run.flow,
            styled(run.state),
            ago(run.scheduled_for, now),
            took(run.started_at, run.ended_at, now),
            counts_line(run.counts),
            run.agent or "-",
        )
    return table


def flows_table(flows: Iterable[FlowView], now: datetime) -> Table:
    table = plain_table("FLOW", "PARAMETERS", "EXECUTOR", "RUNS ON", "LABELS", "SCHEDULE", "NEXT", "REGISTERED")
    for flow in flows:
        facts = flow.registered
        table.add_row(
            flow.flow,
            ", ".join(facts.parameters) or "-",
            facts.executor,
            facts.run_config,
            ", ".join(facts.labels) or "-",
            schedule_text(facts.schedule),
            ago(flow.next_due, now),
            ago(flow.registered_at, now),
        )
    return table


def agents_table(agents: Iterable[AgentView]) -> Table:
    table = plain_table("AGENT", "KIND", "STATE", "RUNS", "LABELS", "PYTHON", "VERSION", "LAST HEARD OF", "AT WORK ON")
    for agent in agents:
        heard = "-" if agent.last_contact_seconds is None else f"{span(agent.last_contact_seconds)} ago"
        table.add_row(
            agent.agent,
            agent.kind,
            agent.state,
            f"{len(agent.runs)} of {agent.capacity}",
            ", ".join(agent.labels) or "-",
            agent.python,
            agent.version,
            heard,
            _listed([run[:ID_DIGITS] for run in agent.runs]),
        )
    return table


def tokens_table(tokens: Iterable[TokenView], now: datetime) -> Table:
    table = plain_table("TOKEN", "SCOPE", "STATE", "MADE", "ENDS")
    for token in tokens:
        ends = ago(token.revoked_at or token.expires_at, now)
        table.add_row(token.name, token.scope, token.state, ago(token.created_at, now), ends)
    return table


def schedule_text(schedule: Schedule | None) -> str:
    if schedule is None:
        return "-"
    if schedule.cron is not None:
        return f"{schedule.cron} ({schedule.tz or 'UTC'})"
    return f"every {span(schedule.every_seconds or 0)}"


def _listed(runs: Sequence[str]) -> str:
    if len(runs) <= MAX_RUNS:
        return " ".join(runs) or "-"
    return f"{' '.join(runs[:MAX_RUNS])} and {len(runs) - MAX_RUNS} more"


def plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table
