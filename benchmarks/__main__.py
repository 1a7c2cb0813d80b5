"""`python -m benchmarks [QUESTION …]`: ask the questions one by one, print the tables, and keep the figures."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.harness import FULL, QUICK, Row
from benchmarks.questions import QUESTIONS
from benchmarks.report import Report
from benchmarks.tables import console, show

RESULTS: Final = Path(__file__).parent / "results"
STDOUT: Final = Path("-")


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    names = [question.name for question in QUESTIONS]
    unknown = [name for name in given.questions if name not in names]
    if unknown:
        parser.error(f"no question is called {', '.join(unknown)}; there are {', '.join(names)}")
    report = Report(effort=QUICK if given.quick else FULL)
    _ask(report, given.questions or names, given.folder)
    path = given.json or (None if given.quick or given.questions else RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.json")
    if path == STDOUT:
        sys.stdout.buffer.write(report.as_bytes())
        return 0
    show(report, console())
    if path is not None:
        report.write(path)
        _say(f"kept as {path}")
    return 0


def _ask(report: Report, names: list[str], folder: Path | None) -> None:
    for question in QUESTIONS:
        if question.name not in names:
            continue
        _say(f"{question.name}: {question.asks}")
        with tempfile.TemporaryDirectory(prefix="playhead-bench-", dir=folder) as inner:
            rows: list[Row] = []
            for row in question.ask(report.effort, Path(inner)):
                _say(f"  {row.what}: {row.median:.4g} {row.unit}")
                rows.append(row)
        report.add(question, rows)


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [question.name for question in QUESTIONS]
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"which; by default all: {', '.join(names)}")
    parser.add_argument(
        "--json",
        nargs="?",
        type=Path,
        const=STDOUT,
        metavar="PATH",
        help="write the figures to this file, or to stdout in place of the tables where none is named; "
        "by default benchmarks/results/<date>.json if all was asked in full",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs, not to quote")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured; by default the system's temporary folder"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
