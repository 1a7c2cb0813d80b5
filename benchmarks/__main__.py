"""`python -m benchmarks [QUESTION …]`: ask the questions one by one, print one table, and keep the figures."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import FULL, QUICK, Row
from benchmarks.questions import QUESTIONS
from benchmarks.report import Report, console

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    effort = QUICK if given.quick else FULL
    chosen = [question for question in QUESTIONS if not given.questions or question.name in given.questions]
    report = Report(effort)
    for question in chosen:
        print(f"{question.name}: {question.asks}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="playhead-bench-", dir=given.folder) as folder:
            rows: list[Row] = []
            for row in question.ask(effort, Path(folder)):
                print(f"  {row.what}: {row.median:.4g} {row.unit}", file=sys.stderr, flush=True)
                rows.append(row)
        report.add(question, rows)
    report.print(console())
    path = given.json or (None if given.quick or given.questions else RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.json")
    if path is not None:
        report.write(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [question.name for question in QUESTIONS]
    parser.add_argument(
        "questions",
        nargs="*",
        metavar="QUESTION",
        choices=[*names, []],
        help=f"which; by default all: {', '.join(names)}",
    )
    parser.add_argument(
        "--json", type=Path, help="file for the figures; by default benchmarks/results/<date>.json if all were asked"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs, not to quote")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured; by default the system's temporary folder"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
