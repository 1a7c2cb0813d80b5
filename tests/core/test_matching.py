"""Matching as a table: what a run wants, what an agent has, and what exactly is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from playhead.core.matching import Lack, Missing, missing


@dataclass(frozen=True)
class Run:
    run_config: str = "universal"
    labels: tuple[str, ...] = ()
    storage: str = "aa" * 8
    key_id: str = "bb" * 8
    python: str | None = None


@dataclass(frozen=True)
class Agent:
    kind: str = "local"
    labels: tuple[str, ...] = ()
    storages: tuple[str, ...] = ("aa" * 8, "cc" * 8)
    key_ids: tuple[str, ...] = ("bb" * 8, "dd" * 8)
    python: str = "3.11"
    universal: bool = True


RUN, AGENT = Run(), Agent()


@pytest.mark.parametrize(
    ("run", "agent"),
    [
        (RUN, AGENT),
        (RUN, replace(AGENT, kind="docker")),
        (replace(RUN, run_config="local"), AGENT),
        (replace(RUN, labels=("gpu",)), replace(AGENT, labels=("big", "gpu"))),
        (replace(RUN, labels=("gpu", "big")), replace(AGENT, labels=("big", "gpu"))),
        (RUN, replace(AGENT, labels=("gpu",))),
        (replace(RUN, storage="cc" * 8), AGENT),
        (replace(RUN, key_id="dd" * 8), AGENT),
        (replace(RUN, python="3.11"), AGENT),
    ],
)
def test_fits(run: Run, agent: Agent) -> None:
    assert missing(run, agent) == ()


@pytest.mark.parametrize(
    ("run", "agent", "lacks"),
    [
        (replace(RUN, run_config="docker"), AGENT, [Missing(Lack.KIND, ("docker",), ("local",))]),
        (RUN, replace(AGENT, kind="docker", universal=False), [Missing(Lack.KIND, ("universal",), ("docker",))]),
        (
            replace(RUN, run_config="local"),
            replace(AGENT, kind="docker"),
            [Missing(Lack.KIND, ("local",), ("docker",))],
        ),
        (replace(RUN, labels=("gpu",)), AGENT, [Missing(Lack.LABELS, ("gpu",), ())]),
        (
            replace(RUN, labels=("gpu", "eu", "big")),
            replace(AGENT, labels=("gpu", "us")),
            [Missing(Lack.LABELS, ("big", "eu"), ("gpu", "us"))],
        ),
        (replace(RUN, storage="ee" * 8), AGENT, [Missing(Lack.STORAGE, ("ee" * 8,), ("aa" * 8, "cc" * 8))]),
        (replace(RUN, key_id="ee" * 8), AGENT, [Missing(Lack.KEY, ("ee" * 8,), ("bb" * 8, "dd" * 8))]),
        (replace(RUN, python="3.12"), AGENT, [Missing(Lack.PYTHON, ("3.12",), ("3.11",))]),
        (
            Run("docker", ("gpu",), "ee" * 8, "ff" * 8, "3.14"),
            AGENT,
            [
                Missing(Lack.KIND, ("docker",), ("local",)),
                Missing(Lack.LABELS, ("gpu",), ()),
                Missing(Lack.STORAGE, ("ee" * 8,), ("aa" * 8, "cc" * 8)),
                Missing(Lack.KEY, ("ff" * 8,), ("bb" * 8, "dd" * 8)),
                Missing(Lack.PYTHON, ("3.14",), ("3.11",)),
            ],
        ),
    ],
)
def test_names_all_that_is_missing(run: Run, agent: Agent, lacks: list[Missing]) -> None:
    assert list(missing(run, agent)) == lacks


def test_a_lack_reads_as_a_sentence() -> None:
    assert str(Missing(Lack.LABELS, ("gpu",), ())) == "labels: wants gpu; there is none"
