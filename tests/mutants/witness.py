"""A plugin of pytest that writes down, in a tree with a bug, how each test went. Owns that record; says nothing to the tests.

It imports the product to tell from which files it comes, and nothing of the tests' own: so it can stand in any tree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

PLUGIN: Final = "tests.mutants.witness"
REPORT_VARIABLE: Final = "MUTANT_REPORT"
_MOST_TEXT: Final = 20_000  # characters of an error: more than any assertion says


def pytest_configure() -> None:
    import playhead

    _write(product=str(Path(playhead.__file__).resolve()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    error, said = "", ""
    if call.excinfo is not None:
        error, said = call.excinfo.type.__name__, call.excinfo.exconly()
    _write(test=item.nodeid, when=report.when, outcome=report.outcome, error=error, text=f"{said}\n{_text(report)}")
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _write(test=report.nodeid, when="collect", outcome="failed", error="", text=_text(report))


def _text(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What went wrong: the lines that pytest marks as the error, or all where it marks none, as of a group of exceptions."""
    said = report.longreprtext
    marked = [line[1:].strip() for line in said.splitlines() if line.startswith("E ")]
    return ("\n".join(marked) or said)[-_MOST_TEXT:]


def _write(**what: Any) -> None:
    with Path(os.environ[REPORT_VARIABLE]).open("a", encoding="utf-8") as report:
        report.write(json.dumps(what) + "\n")
