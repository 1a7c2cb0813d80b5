"""A store tried by the conformance kit, shown as a table. Owns how that looks, and that nobody's log is written to by mistake; the
checks are in `playhead.testing.stores`. A URL is never shown: it may hold a password."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Final, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json, stderr, stdout
from playhead.cli.rendering.tables import plain_table
from playhead.core.names import Position
from playhead.errors import UsageError
from playhead.testing.checks import CheckResult, Watcher
from playhead.testing.stores import STORE_CHECKS, Place
from playhead.testing.stores.samples import STREAMS

PAGE_EVENTS: Final = 1_000  # read at a time, to see whose a log is
SEEDS: Final = 1_000_000_000  # to draw one from: short enough to be typed again


def check_url(
    url: str,
    *,
    only: Collection[str] | None,
    quick: bool,
    second: str | None,
    seed: int | None,
    anyway: bool,
    as_json: bool,
) -> int:
    """Exit 0: every check passed. UsageError: no such store or check, or a log that holds what is somebody's."""
    seed = random.randrange(SEEDS) if seed is None else seed
    heard = _Shown(len(only or STORE_CHECKS.names)) if not as_json else _Heard()
    with heard, Place(url, second=second, quick=quick, seed=seed, watcher=heard) as place:
        asyncio.run(_checked(place, only, heard, anyway=anyway))
    failed = [result for result in heard.results if not result.passed]
    if as_json:
        checks = [asdict(result) for result in heard.results]
        print_json({"passed": not failed, "seed": seed, "checks": checks, "omitted": heard.left_out})
    else:
        _print(heard, failed)
    return ExitCode.FAILED if failed else ExitCode.GOOD


async def _checked(place: Place, only: Collection[str] | None, watcher: Watcher, *, anyway: bool) -> None:
    if not anyway:
        await _refuse_what_is_somebodys(place)
    await STORE_CHECKS.run(place, only=only, watcher=watcher)


async def _refuse_what_is_somebodys(place: Place) -> None:
    """What the checks left there before is nobody's. Opening the store tells also, once, if that is not possible."""
    async with place() as store:
        after = Position(0)
        while events := (await store.read_all(after=after, limit=PAGE_EVENTS)).events:
            for event in events:
                if not event.stream.startswith(STREAMS):
                    raise UsageError(
                        f"log {store.log_id} holds events that are not of these checks, such as one of {event.stream}",
                        hint="name an empty place, or say --anyway: what the checks write stays in the log",
                    )
            after = events[-1].position


@dataclass
class _Heard(Watcher):
    """What became of each check."""

    results: list[CheckResult] = field(default_factory=list[CheckResult])
    left_out: dict[str, str] = field(default_factory=dict[str, str])  # name: why

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is shown."""

    def ended(self, result: CheckResult) -> None:
        self.results.append(result)

    def omitted(self, name: str, why: str) -> None:
        self.left_out[name] = why


class _Shown(_Heard):
    """Also a bar on stderr while it lasts; nothing where that is no terminal."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        console = stderr()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("checks", total=checks)
        self._one = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def began(self, name: str) -> None:
        self._progress.reset(self._one, total=None, description=name)

    def progressed(self, done: int, of: int) -> None:
        self._progress.update(self._one, completed=done, total=of)

    def ended(self, result: CheckResult) -> None:
        super().ended(result)
        self._progress.advance(self._all)

    def omitted(self, name: str, why: str) -> None:
        super().omitted(name, why)
        self._progress.advance(self._all)


def _print(heard: _Heard, failed: list[CheckResult]) -> None:
    """The table; below it each finding in full, which may be a traceback."""
    console = stdout()
    table = plain_table("CHECK", "RESULT", "TOOK")
    for result in heard.results:
        word = Text("passed", style="green") if result.passed else Text("FAILED", style="bold red")
        table.add_row(result.name, word, f"{result.seconds:.2f} s")
    for name, why in heard.left_out.items():
        table.add_row(name, Text(why, style="dim"), "")
    console.print(table)
    for result in failed:
        console.print(Text.assemble("\n", (result.name, "bold red"), f"\n  {result.problem}"), soft_wrap=True)
    total = len(heard.results)
    told = f"{len(failed)} of {total} checks failed" if failed else f"all {total} checks passed"
    left_out = f", {len(heard.left_out)} do not apply" if heard.left_out else ""
    console.print(Text(f"\n{told}{left_out}", style="bold red" if failed else "bold green"))
