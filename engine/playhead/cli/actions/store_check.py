"""A store tried by the conformance suite, shown check by check. Owns how that looks; the suite is in `playhead.testing.stores`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import asdict

from rich.text import Text

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json, stdout
from playhead.testing.checks import CheckResult, Watcher
from playhead.testing.stores import check_store
from playhead.testing.stores.place import factory_at


def check_url(url: str, *, only: Collection[str] | None, as_json: bool) -> int:
    """Exit 0: every check passed. UsageError: no such store or check."""
    shown = Watcher() if as_json else _Shown()
    results = asyncio.run(_checked(url, only, shown))
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json({"url": url, "passed": not failed, "checks": [asdict(result) for result in results]})
    else:
        told = f"{len(failed)} of {len(results)} checks failed" if failed else f"all {len(results)} checks passed"
        stdout().print(Text(told, style="bold red" if failed else "bold green"))
    return ExitCode.FAILED if failed else ExitCode.GOOD


async def _checked(url: str, only: Collection[str] | None, watcher: Watcher) -> list[CheckResult]:
    place = factory_at(url)
    async with place():
        """It can be opened: if not, that is told once, and not by every check."""
    return await check_store(place, only=only, watcher=watcher)


class _Shown(Watcher):
    """A line for each check, when it has ended."""

    def ended(self, result: CheckResult) -> None:
        word, style = ("ok", "green") if result.passed else ("FAILED", "bold red")
        line = Text.assemble((f"{word:<8}", style), f"{result.name:<48}", (f"{result.seconds:7.2f} s", "dim"))
        stdout().print(line, soft_wrap=True)
        if result.problem is not None:
            stdout().print(Text(f"        {result.problem}", style="red"), soft_wrap=True)
