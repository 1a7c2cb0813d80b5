"""`python -m benchmarks [QUESTION or PEER …]`: ask the questions, then the peers; print tables, keep the figures, draw them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.harness import FULL, QUICK, Question, Row
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.asking import PeerError, ask
from benchmarks.peers.environments import absence
from benchmarks.questions import QUESTIONS
from benchmarks.report import Answer, Report
from benchmarks.tables import console, markdown, show

RESULTS: Final = Path(__file__).parent / "results"
STDOUT: Final = Path("-")


def main(arguments: list[str] | None = None) -> int:
    given = _parsed(arguments)
    if given.kept is not None:
        report = Report.read(given.kept)
    else:
        report = Report(effort=QUICK if given.quick else FULL)
        ask_questions(report, given.questions, given.folder)
        ask_peers(report, given.peers, given.folder)
    if given.json == STDOUT:
        sys.stdout.buffer.write(report.as_bytes())
        return 0
    if given.markdown:
        print("\n".join(markdown(report)))
    else:
        show(report, console())
    if given.json is not None:
        report.write(given.json)
        _say(f"kept as {given.json}")
    if given.plot is not None:
        _draw(report, given.plot)
    return 0


def ask_questions(report: Report, questions: Iterable[Question], folder: Path | None) -> None:
    for question in questions:
        _say(f"{question.name}: {question.asks}")
        with tempfile.TemporaryDirectory(prefix="playhead-bench-", dir=folder) as inner:
            rows = [_told(row) for row in question.ask(report.effort, Path(inner))]
        report.add(question, rows)


def ask_peers(report: Report, peers: Iterable[Peer], folder: Path | None) -> None:
    """Those that are installed. What one gave before it failed counts."""
    for peer in peers:
        missing = absence(peer)
        if missing is not None:
            report.missing[peer.title] = missing
            _say(f"{peer.title}: {missing}")
            continue
        _say(f"{peer.title}: {peer.asks}")
        rows: list[Row] = []
        with tempfile.TemporaryDirectory(prefix="playhead-bench-", dir=folder, ignore_cleanup_errors=True) as inner:
            try:
                rows.extend(map(_told, ask(peer, report.effort, Path(inner))))
            except PeerError as error:
                report.missing[peer.title] = f"not asked to its end: {error}"
                _say(f"  {error}")
        report.peers.append(Answer(name=peer.title, asks=peer.asks, rows=tuple(rows)))


def _told(row: Row) -> Row:
    _say(f"  {row.what}: {row.median:.4g} {row.unit}")
    return row


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def _draw(report: Report, path: Path) -> None:
    """Where matplotlib is: it comes with the extra `bench`."""
    try:
        from benchmarks.plots import draw  # matplotlib takes half a second, and is not everywhere
    except ImportError:
        _say("no plot: matplotlib is not installed (pip install -e '.[bench]')")
        return
    if draw(report, path):
        _say(f"drawn as {path}")


class Given(argparse.Namespace):
    questions: Sequence[Question]
    peers: Sequence[Peer]
    json: Path | None
    plot: Path | None
    kept: Path | None
    folder: Path | None
    quick: bool
    markdown: bool


def _parsed(arguments: list[str] | None) -> Given:
    parser = _parser()
    given = parser.parse_args(arguments, Given())
    names: list[str] = given.names
    known = [question.name for question in QUESTIONS] + [peer.name for peer in PEERS]
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no question or peer is called {', '.join(unknown)}; there are {', '.join(known)}")
    if given.json is not None and given.json.name in known:
        parser.error(
            f"--json would write to a file called {given.json}: name questions before it, or --json={given.json}"
        )
    given.questions = [each for each in QUESTIONS if each.name in names or not (names or given.only_peers)]
    given.peers = [each for each in PEERS if each.name in names or not (names or given.no_peers)]
    if not names and not given.quick and not given.no_peers and not given.only_peers and given.kept is None:
        stem = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}"
        given.json = given.json or stem.with_suffix(".json")
        given.plot = given.plot or (None if given.json == STDOUT else stem.with_suffix(".svg"))
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    questions, peers = (", ".join(each.name for each in of) for of in (QUESTIONS, PEERS))
    parser.add_argument(
        "names",
        nargs="*",
        metavar="QUESTION or PEER",
        help=f"which; by default all questions ({questions}) and peers ({peers})",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--no-peers", action="store_true", help="all questions and no peer")
    which.add_argument("--only-peers", action="store_true", help="all peers that are installed, and no question")
    which.add_argument(
        "--from",
        dest="kept",
        type=Path,
        metavar="PATH",
        help="measure nothing: show the figures of this file once more",
    )
    parser.add_argument(
        "--json", nargs="?", type=Path, const=STDOUT, metavar="PATH",
        help="write the figures to this file, or to stdout in place of the tables where none is named; "
        "by default benchmarks/results/<date>.json if all was asked in full",
    )  # fmt: skip
    parser.add_argument(
        "--plot", type=Path, metavar="PATH", help="draw the curves there (.svg, .png); by default beside the figures"
    )
    parser.add_argument("--markdown", action="store_true", help="the tables as Markdown")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs, not to quote")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured; by default the system's temporary folder"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
