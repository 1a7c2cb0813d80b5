"""`python -m tests.mutants [WORD …]`: plant each bug, see its test go red, and say so in a table. Owns the command; `trial` does the work.

A WORD is a part of a bug's name, or a promise (S4). Ends with 1 if a bug was not seen, and with 2 if nothing was chosen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.mutants.mutant import BadPatch, Mutant, all_mutants, chosen
from tests.mutants.trial import Trial, Verdict, tried
from tests.rooms import ROOT

PROCESSES: Final = 2  # at once: tests are mostly one process that computes


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parsed(arguments)
    try:
        mutants = chosen(all_mutants(), given.words)
    except BadPatch as error:
        return _say(str(error), 2)
    if not mutants:
        return _say(f"no bug is named like {' or '.join(given.words)}; --list names them all", 2)
    if given.list:
        _show_list(mutants)
        return 0
    began = time.monotonic()
    trials = _tried_aloud(mutants, given.processes)
    if given.json:
        print(json.dumps([_as_json(trial) for trial in trials], indent=2))
    else:
        _show(trials)
    missed = sum(not trial.counts for trial in trials)
    _say(f"{len(trials)} bugs, {missed} not seen, {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


def _tried_aloud(mutants: Sequence[Mutant], processes: int) -> list[Trial]:
    """All trials in the order of the promises; each is told as it comes."""
    _say(f"{len(mutants)} bugs, {processes} at once; first their tests without them")
    trials: list[Trial] = []
    for trial in tried(ROOT, mutants, processes):
        trials.append(trial)
        _say(
            f"[{len(trials):>{len(str(len(mutants)))}}/{len(mutants)}] {trial.mutant.name}: {trial.verdict} {trial.why}"
        )
    return sorted(trials, key=lambda trial: mutants.index(trial.mutant))


def _show(trials: Sequence[Trial]) -> None:
    table = Table("promise", "bug", "test", "seconds", "", box=None, pad_edge=False, header_style="bold")
    for trial in trials:
        mutant = trial.mutant
        style = None if trial.verdict is Verdict.SEEN else "red"
        told = str(trial.verdict) if not trial.why else f"{trial.verdict}: {trial.why}"
        table.add_row(", ".join(mutant.promises), mutant.name, mutant.test, f"{trial.seconds:.1f}", told, style=style)
    _console().print(table, markup=False)


def _show_list(mutants: Sequence[Mutant]) -> None:
    table = Table("promise", "bug", "what it is", box=None, pad_edge=False, header_style="bold")
    for mutant in mutants:
        table.add_row(", ".join(mutant.promises), mutant.name, mutant.bug)
    _console().print(table, markup=False)


def _as_json(trial: Trial) -> dict[str, Any]:
    mutant = trial.mutant
    return {
        "promises": mutant.promises,
        "name": mutant.name,
        "bug": mutant.bug,
        "test": mutant.test,
        "options": mutant.options,
        "verdict": trial.verdict,
        "why": trial.why,
        "seconds": round(trial.seconds, 2),
    }


def _console() -> Console:
    """As wide as a terminal is; where there is none, as wide as the rows are."""
    return Console() if sys.stdout.isatty() else Console(width=240)


def _say(text: str, code: int = 0) -> int:
    print(text, file=sys.stderr, flush=True)
    return code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Plant bugs, and see the tests find them."
    )
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only bugs with this in their name, or of this promise"
    )
    parser.add_argument("--list", action="store_true", help="name the bugs and try none")
    parser.add_argument("--json", action="store_true", help="print what came of them as JSON")
    parser.add_argument("--processes", type=int, default=PROCESSES, metavar="N", help="how many at once")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
