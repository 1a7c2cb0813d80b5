"""The benchmarks' questions: each can be asked of real processes, and its rows can be told apart. No figure is judged here."""

from __future__ import annotations

from collections import Counter

import pytest
from benchmarks.harness import Effort, Measure, Row
from benchmarks.questions import QUESTIONS

TINY = Effort(repeats=1, scale=0.01)
HERE = [question for question in QUESTIONS if question.name != "docker"]  # that one is asked in tests/docker

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]  # the first test asks all


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    return {question.name: list(question.ask(TINY, tmp_path_factory.mktemp("bench"))) for question in HERE}


@pytest.mark.parametrize("name", [question.name for question in HERE])
def test_a_question_can_be_asked(name: str, answers: dict[str, list[Row]]) -> None:
    rows = answers[name]
    assert rows
    assert len({row.what for row in rows}) == len(rows)
    for row in rows:
        assert row.values
        if row.floor is not None and row.goal is not None:
            assert row.floor != row.goal
            assert (row.floor < row.goal) is row.is_rate, f"{row.what}: a floor is the lesser demand"


def test_what_peers_are_asked_we_are_asked(answers: dict[str, list[Row]]) -> None:
    """Once each; but a chain has three forms."""
    measured = Counter(row.measure for rows in answers.values() for row in rows if row.measure is not None)
    assert measured == {**dict.fromkeys(Measure, 1), Measure.CHAIN_STEP: 3}
