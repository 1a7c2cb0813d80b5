"""The report: what one run of the benchmarks asked, and what we and our peers answered; and how it is kept. Measures and shows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from benchmarks.harness import Effort, Measure, Point, Question, Row
from benchmarks.machine import machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The rows that one question, or one peer, gave."""

    name: str
    asks: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Rows of one question that differ in one size only, in its order."""

    panel: str
    line: str
    x: str
    rows: tuple[tuple[float, Row], ...]


@dataclass(slots=True, kw_only=True)
class Report:
    """Collects answers as they come. `missing` says of each peer that was not asked why not."""

    effort: Effort
    began: str = field(default_factory=lambda: _now())
    machine: dict[str, Any] = field(default_factory=machine)
    answers: list[Answer] = field(default_factory=list[Answer])
    peers: list[Answer] = field(default_factory=list[Answer])
    missing: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, question: Question, rows: list[Row]) -> None:
        self.answers.append(Answer(name=question.name, asks=question.asks, rows=tuple(rows)))

    def beside(self, measure: Measure) -> Iterator[tuple[str, Row]]:
        """The best that each peer gave for this measure, by its name."""
        for peer in self.peers:
            rows = [row for row in peer.rows if row.measure is measure]
            if rows:
                yield peer.name, min(rows, key=lambda row: -row.median if row.is_rate else row.median)

    def curves(self) -> list[Curve]:
        """In the order in which their first points were measured."""
        found: dict[tuple[str, str, str], list[tuple[Point, Row]]] = {}
        for answer in self.answers:
            for row in answer.rows:
                if row.point is not None:
                    found.setdefault((row.point.panel, row.point.line, row.point.x), []).append((row.point, row))
        return [
            Curve(
                panel=panel,
                line=line,
                x=x,
                rows=tuple(sorted(((point.at, row) for point, row in pairs), key=lambda pair: pair[0])),
            )
            for (panel, line, x), pairs in found.items()
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "began": self.began,
            "ended": _now(),
            "machine": self.machine,
            "repeats": self.effort.repeats,
            "scale": self.effort.scale,
            "questions": [_told(answer) for answer in self.answers],
            "curves": [_told_curve(curve) for curve in self.curves()],
            "peers": [_told(answer) for answer in self.peers],
            "missing_peers": self.missing,
        }

    def as_bytes(self) -> bytes:
        return orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.as_bytes())

    @classmethod
    def read(cls, path: Path) -> Report:
        """One that was written. Curves are in its rows."""
        told = orjson.loads(path.read_bytes())
        return cls(
            effort=Effort(repeats=told["repeats"], scale=told["scale"]),
            began=told["began"],
            machine=told["machine"],
            answers=[_heard(answer) for answer in told["questions"]],
            peers=[_heard(answer) for answer in told["peers"]],
            missing=told["missing_peers"],
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _told(answer: Answer) -> dict[str, Any]:
    return {"name": answer.name, "asks": answer.asks, "rows": [row.as_json() for row in answer.rows]}


def _heard(told: dict[str, Any]) -> Answer:
    return Answer(name=told["name"], asks=told["asks"], rows=tuple(map(Row.from_json, told["rows"])))


def _told_curve(curve: Curve) -> dict[str, Any]:
    first = curve.rows[0][1]
    return {
        "panel": curve.panel,
        "line": curve.line,
        "x": curve.x,
        "unit": first.unit,
        "points": [[at, row.median, min(row.values), max(row.values)] for at, row in curve.rows],
    }
