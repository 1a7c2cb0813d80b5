"""The benchmarks' questions: each can be asked of real processes, and its rows can be told apart. No figure is judged here."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.harness import Effort, Question
from benchmarks.questions import QUESTIONS

TINY = Effort(repeats=1, scale=0.01)

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_question_can_be_asked(question: Question, tmp_path: Path) -> None:
    rows = list(question.ask(TINY, tmp_path))
    assert rows
    assert len({row.what for row in rows}) == len(rows)
    for row in rows:
        assert row.values
        if row.floor is not None and row.goal is not None:
            assert row.floor != row.goal
            assert (row.floor < row.goal) is row.is_rate, f"{row.what}: a floor is the lesser demand"
