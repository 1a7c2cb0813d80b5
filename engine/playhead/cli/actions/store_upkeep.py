"""What is done to a log as a whole, for a person or a program: which log, how far it is, and what came out. Does none of it itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json, stderr, stdout
from playhead.cli.rendering.tables import plain_table
from playhead.core.views import iso
from playhead.errors import UsageError
from playhead.log import without_secrets
from playhead.settings import Settings
from playhead.upkeep import (
    Copied,
    Inventory,
    Progress,
    Verified,
    back_up,
    copy,
    opened,
    opened_to_read,
    take_inventory,
    unheard,
    verify,
)

T = TypeVar("T")


def url_of(url: str | None, home: Path | None) -> str:
    """The URL that was given, or this home's log."""
    return url if url is not None else Settings.load({"home": home}).store_url


def info(url: str, *, exact: bool, as_json: bool) -> int:
    """Exit 0."""

    async def look(progress: Progress) -> Inventory:
        async with opened_to_read(url) as backend:
            return await take_inventory(backend, exact=exact, progress=progress)

    found = watched("counting", look, as_json=as_json)
    if as_json:
        told = asdict(found) | {"url": without_secrets(url)}
        told |= {"oldest_at": iso(found.oldest_at), "newest_at": iso(found.newest_at)}
        print_json(told)
    else:
        _print_inventory(without_secrets(url), found)
    return ExitCode.GOOD


def verify_log(url: str, *, as_json: bool) -> int:
    """Exit 0: nothing was found. Exit 1: something was."""

    async def look(progress: Progress) -> Verified:
        async with opened_to_read(url) as backend:
            return await verify(backend, progress=progress)

    result = watched("verifying", look, as_json=as_json)
    if as_json:
        print_json(asdict(result) | {"url": without_secrets(url), "sound": result.sound})
    else:
        _print_verified(result)
    return ExitCode.GOOD if result.sound else ExitCode.FAILED


def copy_log(source: str, target: str, *, as_json: bool) -> int:
    """Exit 0: the copy is whole, and was compared."""
    if source == target:
        raise UsageError("the source and the target are the same log", hint="name another place for the copy")

    async def work(progress: Progress) -> Copied:
        async with opened_to_read(source) as one, opened(target) as other:
            return await copy(one, other, progress=progress)

    copied = watched("copying", work, as_json=as_json)
    if copied.whole:
        told = (
            "It has the log's id: cursors go on working. Let no server serve both: from now on one of them is the log."
        )
    else:
        told = "It is a log of its own, with its own id and positions: cursors of the first are refused by it."
    _tell_copied(copied, without_secrets(target), told, as_json=as_json)
    return ExitCode.GOOD


def back_up_log(source: str, file: Path, *, as_json: bool) -> int:
    """Exit 0: the file is whole and durable."""

    async def work(progress: Progress) -> Copied:
        async with opened_to_read(source) as backend:
            return await back_up(backend, file, progress=progress)

    copied = watched("backing up", work, as_json=as_json)
    told = "Opened as a log it begins another history: old cursors are refused, and every lease is taken back."
    _tell_copied(copied, str(file), told, as_json=as_json)
    return ExitCode.GOOD


def watched(what: str, work: Callable[[Progress], Coroutine[Any, Any, T]], *, as_json: bool) -> T:
    """Do the work, with a bar on a terminal."""
    with _bar(what, shown=not as_json and stderr().is_terminal) as progress:
        return asyncio.run(work(progress))


@contextmanager
def _bar(what: str, *, shown: bool) -> Generator[Progress]:
    if not shown:
        yield unheard
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


def _print_inventory(url: str, found: Inventory) -> None:
    table = plain_table("", "")
    table.show_header = False
    rows: dict[str, str | None] = {
        "store": url,
        "log": found.log_id,
        "head": f"{found.head:,}",
        "link": found.link,
        "format": str(found.format) if found.format is not None else None,
        "offers": ", ".join(found.capabilities),
        "oldest": iso(found.oldest_at),
        "newest": iso(found.newest_at),
        **{what: f"{count:,} bytes" for what, count in found.sizes.items()},
        "streams": _counts(found.streams),
        "runs": _counts(found.runs),
    }
    for what, told in rows.items():
        if told:
            table.add_row(Text(what, style="dim"), told)
    stdout().print(table)
    title = "EVENTS" if found.exact else "EVENTS (about: --exact counts)"
    events = plain_table(title, "")
    for kind, count in found.events.items():
        events.add_row(kind, f"{count:,}" if found.exact else f"≈ {count:,}")
    stdout().print(events)


def _counts(counts: Mapping[str, int] | None) -> str | None:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items()) if counts else None


def _print_verified(result: Verified) -> None:
    out = stdout()
    for finding in result.findings:
        where = [f"position {finding.position:,}"] if finding.position is not None else []
        where += [f"stream {finding.stream}, version {finding.version}"] if finding.stream is not None else []
        out.print(Text.assemble(("WRONG ", "bold red"), f"{', '.join(where)}: {finding.what}"), soft_wrap=True)
        out.print(Text(f"      {finding.hint}", style="dim"), soft_wrap=True)
    if result.found > len(result.findings):
        out.print(Text(f"… and {result.found - len(result.findings):,} findings more"))
    chained = "no hash chain" if result.chained_from is None else f"chained from position {result.chained_from:,}"
    looked = f"log {result.log_id} up to position {result.head:,}: {result.events:,} events in {result.streams:,} streams, {chained}"
    out.print(Text(looked), soft_wrap=True)
    verdict = "nothing is wrong" if result.sound else f"{result.found:,} findings"
    out.print(Text(verdict, style="bold green" if result.sound else "bold red"))


def _tell_copied(copied: Copied, where: str, told: str, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(copied) | {"target_url": where})
        return
    out = stdout()
    out.print(f"{copied.appends:,} appends copied; {where} ends at position {copied.head:,}", soft_wrap=True)
    out.print(Text(told, style="dim"), soft_wrap=True)
