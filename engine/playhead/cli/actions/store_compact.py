"""Retention for a person or a program: what would go is told, and goes when that was asked for. Removes nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from playhead.cli.actions.store_upkeep import watched
from playhead.cli.exits import ExitCode
from playhead.cli.moments import micros_of, micros_since
from playhead.cli.output import print_json, stdout
from playhead.core.names import Micros
from playhead.core.views import iso
from playhead.errors import UsageError
from playhead.log import without_secrets
from playhead.log.sqlite import SqliteBackend
from playhead.upkeep import Compacted, Leaving, Progress, Retention, compact, opened, opened_to_read, plan


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command, as they were given."""

    ended_before: str
    flows: tuple[str, ...]
    keep_last: int
    archive: Path | None
    shrink: bool


def compact_log(url: str, asked: Asked, *, do_it: bool, as_json: bool) -> int:
    """Exit 0: the runs are gone, or it was told which would go."""
    now = datetime.now(UTC)
    retention = Retention(
        ended_before=Micros(micros_since(asked.ended_before, now)),
        flows=frozenset(asked.flows) or None,
        keep_last=asked.keep_last,
    )

    async def look(progress: Progress) -> list[Leaving]:
        async with opened_to_read(url) as backend:
            return await plan(backend, retention, progress=progress)

    async def work(progress: Progress) -> Compacted:
        async with opened(url) as backend:
            if asked.shrink and not isinstance(backend, SqliteBackend):
                raise UsageError("only a SQLite log is shrunk by us", hint="leave out --shrink: its database does that")
            done = await compact(
                backend, leaving, now=Micros(micros_of(now)), archive_to=asked.archive, progress=progress
            )
            if asked.shrink and isinstance(backend, SqliteBackend):
                await backend.shrink()
            return done

    leaving = watched("looking", look, as_json=as_json)
    done = watched("removing", work, as_json=as_json) if do_it and (leaving or asked.shrink) else None
    told = _told(url, retention, leaving, done, asked)
    if as_json:
        print_json(told)
    else:
        _print(leaving, done, asked, do_it=do_it)
    return ExitCode.GOOD


def _told(
    url: str, retention: Retention, leaving: Sequence[Leaving], done: Compacted | None, asked: Asked
) -> dict[str, Any]:
    return {
        "url": without_secrets(url),
        "ended_before": iso(retention.ended_before),
        "done": done is not None,
        "archive": str(asked.archive) if asked.archive is not None and done is not None else None,
        "runs": [
            {"run_id": each.stream.rpartition("/")[2], "flow": each.flow, "state": each.state, "events": each.version}
            for each in leaving
        ],
        "removed": {"runs": done.runs, "events": done.events, "skipped": done.skipped} if done is not None else None,
    }


def _print(leaving: Sequence[Leaving], done: Compacted | None, asked: Asked, *, do_it: bool) -> None:
    out = stdout()
    for flow, count in sorted(Counter(each.flow for each in leaving).items()):
        out.print(Text(f"{flow}: {_runs(count)}"))
    if done is not None:
        out.print(Text(f"{done.events:,} events of {_runs(done.runs)} removed"))
        if done.skipped:
            out.print(Text(f"{_runs(done.skipped)} went on meanwhile and stayed", style="yellow"))
        if asked.archive is not None:
            out.print(Text(f"they are in {asked.archive}; what is in storage is there still"), soft_wrap=True)
    elif not leaving:
        out.print(Text("no run ended before that" if not do_it else "no run ended before that: nothing was removed"))
    else:
        events = sum(each.version for each in leaving)
        out.print(Text(f"{events:,} events of {_runs(len(leaving))} would be removed: give --yes to do it"))


def _runs(count: int) -> str:
    return f"{count:,} run{'s' * (count != 1)}"
