"""The doctor's look at a Dask cluster: what is wrong with it is named, with the worker, before any flow runs there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playhead.ports.examination import Finding, Health, Subject
from playhead_adapters.executors.dask import examination
from playhead_adapters.executors.dask.examination import examine
from tests.executors.clusters import dask_cluster, free_port, warmed
from tests.executors.test_dask_workers import NO_PLAYHEAD, OTHER_VERSION, spoiled

pytestmark = pytest.mark.real

warm = pytest.fixture(scope="module", autouse=True)(warmed)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as where:
        yield where


def by_part(findings: list[Finding]) -> dict[str, Finding]:
    return {found.part: found for found in findings}


async def test_a_sound_cluster_has_all_that_was_asked_for(address: str, tmp_path: Path) -> None:
    subject = Subject(where=address, modules=("json", "collections.abc"), storage_url=tmp_path.as_uri())
    findings = by_part(list(await examine(subject)))
    assert {part: found.health for part, found in findings.items()} == dict.fromkeys(
        ("dask", "modules", "shared"), Health.OK
    )
    assert findings["dask"].text == f"{address}, 2 workers with 2 threads, versions as here"


async def test_modules_and_storage_that_workers_do_not_have_are_named(address: str, tmp_path: Path) -> None:
    subject = Subject(where=address, modules=("json", "not_there.at_all"), storage_url=(tmp_path / "none").as_uri())
    findings = by_part(list(await examine(subject)))
    assert findings["modules"].health is Health.FAIL
    assert findings["modules"].text.count("lacks not_there.at_all") == 2, "each worker is named"
    assert findings["shared"].health is Health.WARN
    assert not (tmp_path / "none").exists(), "nothing is made"
    assert all(found.todo for found in findings.values() if found.health is not Health.OK)


@pytest.mark.parametrize(
    ("code", "says"),
    [(OTHER_VERSION, "has playhead 0.0.9 and not"), (NO_PLAYHEAD, "has no Playhead that it can load")],
    ids=["another version", "none"],
)
async def test_workers_with_another_playhead_or_none_are_named(code: str, says: str, tmp_path: Path) -> None:
    with spoiled(tmp_path, code) as address:
        (found,) = await examine(Subject(where=address))
    assert (found.part, found.health, says in found.text) == ("dask", Health.FAIL, True)
    assert "pip" not in found.text
    assert "install 'playhead[dask]==" in (found.todo or "")


async def test_a_scheduler_without_workers_is_told_as_what_it_is(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, n_workers=0) as address:
        (found,) = await examine(Subject(where=address))
    assert (found.health, found.todo) == (Health.WARN, f"start some: dask worker {address}")


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:{}", "nonsense"])
async def test_an_address_where_nobody_is_is_told_in_bounded_time(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "ANSWER_SECONDS", 0.5)
    (found,) = await examine(Subject(where=where.format(free_port())))
    assert (found.health, found.unreachable) == (Health.FAIL, True)
    assert found.text.startswith("no scheduler answers at")
