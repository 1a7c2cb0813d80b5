"""What does a task cost in worker processes, where arguments and results must travel?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import flows, limits
from benchmarks.harness import Effort, Limit, Question, Row, in_turns
from benchmarks.stage import hired, open_home, served

WIDTH: Final = 1_000


def ask(effort: Effort, folder: Path) -> Iterator[Row]:
    width = effort.of(WIDTH)
    home = open_home(folder / "served")
    with served(home.path) as (url, _), hired(home, url) as runner:
        ours, pool = in_turns(
            effort.repeats,
            lambda: 1e6 * runner.seconds(flows.fan_out_processes, n=width) / width,
            lambda: 1e6 * limits.process_pool_seconds(width),
        )
        limit = Limit(what="process pool", values=pool)
        yield Row(what=f"a task of {width:,} in 2 processes", unit="µs", values=ours, limit=limit)


QUESTION: Final = Question(name="processes", asks="a task in worker processes", ask=ask)
