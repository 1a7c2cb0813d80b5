"""Asking for a run: a ticket before the server, one run for one idempotency key, and the flow known by its name only."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from playhead.client.asking import Wish, ask
from playhead.client.client import Client
from playhead.client.loading import load_target
from playhead.core.events import SealedBy
from playhead.core.state import RunStatus
from playhead.errors import BadParameter, NotFound, PlayheadError, StorageLost, TrustError, UsageError
from playhead.flows.flow import flow
from playhead.ports.server import FlowView, RunFilter
from playhead.trust.keys import MasterKey
from playhead.trust.payload import load
from playhead.trust.ticket import AskedTicket, check_run, read_asked
from tests.client_side import sample_flows
from tests.client_side.world import World, home_in, importable, world

SOURCE = """
from dataclasses import dataclass
from playhead import flow
@dataclass
class Row:
    number: int
@flow
def crawl(rows: list[Row], limit: int = 5): ...
"""


DEFAULTS: dict[str, Any] = {"parameters": {"n": 1}}


def ticket_of(made: World, run: str) -> AskedTicket:
    return read_asked(made.home.storage, run, made.home.keys.run_key(run))


async def wished(made: World, view: FlowView, **wish: Any) -> str:
    return await ask(view, made.api, made.home, Wish(**(DEFAULTS | wish)))


async def test_the_ticket_says_what_was_asked_for_and_the_server_does_not(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        run = await made.client.start(sample_flows.crawl, parameters={"n": 41, "text": "hidden"})
        ticket = ticket_of(made, run.id)
        view = await made.client.run(run.id)
        assert load(ticket.parameters) == {"n": 41, "text": "hidden"}
        check_run(ticket, run=run.id, flow="crawl", seal=view.seal, labels=view.labels)
        assert view.state is RunStatus.READY
        assert view.labels == ("big", "fast", "gpu")
        assert "hidden" not in view.model_dump_json()


async def test_labels_and_a_time_replace_the_flow_s_and_now(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        at = datetime.now(UTC) + timedelta(days=1)
        run = await made.client.start(sample_flows.crawl, parameters={"n": 1}, at=at, labels={"z", "a"})
        view = await made.client.run(run.id)
        assert (view.labels, view.state) == (("a", "z"), RunStatus.SCHEDULED)
        assert datetime.fromisoformat(view.scheduled_for) == at
        assert ticket_of(made, run.id).labels == ("a", "z")


async def test_one_idempotency_key_is_one_run(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        first = await made.client.start(sample_flows.crawl, parameters={"n": 1}, idempotency_key="order 7")
        again = await made.client.start(sample_flows.crawl, parameters={"n": 1}, idempotency_key="order 7")
        other = await made.client.start(sample_flows.crawl, parameters={"n": 1}, idempotency_key="order 8")
        assert first.id == again.id != other.id
        now = (await made.api.info()).position
        assert len((await made.api.runs(RunFilter(), after=now)).runs) == 2


async def test_it_stays_one_run_when_the_flow_was_sealed_anew_in_between(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        old = await made.client.register(_numbered(1))
        run = await wished(made, old, parameters={}, idempotency_key="k")
        new = await made.client.register(_numbered(2))
        assert new.registered.seal != old.registered.seal
        assert await wished(made, new, parameters={}, idempotency_key="k") == run
        assert ticket_of(made, run).seal == old.registered.seal


@pytest.mark.parametrize(
    ("changed", "what"), [({"parameters": {"n": 2}}, "parameters"), ({"labels": frozenset({"x"})}, "labels")]
)
async def test_a_key_that_was_used_for_something_else_is_refused(
    tmp_path: Path, changed: dict[str, Any], what: str
) -> None:
    async with world(tmp_path) as made:
        view = await made.client.register(sample_flows.crawl)
        run = await wished(made, view, idempotency_key="k")
        with pytest.raises(UsageError, match=f"used before for run {run} of flow crawl, with other {what}"):
            await wished(made, view, idempotency_key="k", **changed)


async def test_the_same_key_of_two_homes_or_flows_is_two_runs(tmp_path: Path) -> None:
    async with world(tmp_path / "a") as one, world(tmp_path / "b") as two:
        ids = {
            (await made.client.start(subject, parameters=given, idempotency_key="k")).id
            for made in (one, two)
            for subject, given in ((sample_flows.crawl, {"n": 1}), (sample_flows.nightly, {}))
        }
        assert len(ids) == 4


@pytest.mark.parametrize(
    ("wish", "kind", "told"),
    [
        ({"parameters": {}}, BadParameter, "needs the parameter 'n'"),
        ({"parameters": {"n": 1, "m": 2}}, BadParameter, "no parameter 'm'"),
        ({"parameters": {"n": "many"}}, BadParameter, "expected int"),
        ({"at": datetime(2030, 1, 1)}, UsageError, "has no time zone"),  # noqa: DTZ001 — that is the mistake
        ({"at": datetime(1960, 1, 1, tzinfo=UTC)}, UsageError, "1960"),
        ({"labels": frozenset({"not a label"})}, UsageError, "'not a label' cannot be the name of a label"),
        ({"labels": frozenset(map(str, range(40)))}, UsageError, "40 labels"),
    ],
)
async def test_a_bad_wish_is_named_and_asks_for_nothing(
    tmp_path: Path, wish: dict[str, Any], kind: type[PlayheadError], told: str
) -> None:
    async with world(tmp_path) as made:
        view = await made.client.register(sample_flows.crawl)
        with pytest.raises(kind, match=told) as caught:
            await wished(made, view, **wish)
        assert caught.value.hint
        assert (await made.api.runs(RunFilter())).runs == ()
        assert made.home.storage.list("runs") == []


class TestByName:
    async def test_texts_are_checked_by_the_sealed_code(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            view = await made.client.register(load_target(str(_file(tmp_path))))
            run = await wished(made, view, parameters={"rows": '[{"number": 3}]', "limit": "9"}, from_text=True)
            values = load(ticket_of(made, run).parameters)
            assert [row.number for row in values["rows"]] == [3]
            assert values["limit"] == 9
            with pytest.raises(BadParameter, match="expected list"):
                await wished(made, view, parameters={"rows": "3"}, from_text=True)

    async def test_names_and_defaults_are_checked_where_the_code_does_not_load(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "asking_gone.py").write_text("from playhead import flow\n@flow\ndef crawl(n: int, m=[1]): ...\n")
        importable(monkeypatch, tmp_path)
        subject = load_target("asking_gone:crawl")
        async with world(tmp_path) as made:
            view = await made.client.register(subject, sealed_by=SealedBy.MODULE)
            monkeypatch.delitem(sys.modules, "asking_gone")
            (tmp_path / "asking_gone.py").unlink()
            run = await wished(made, view, parameters={"n": "7"}, from_text=True)
            assert load(ticket_of(made, run).parameters) == {"n": 7, "m": [1]}
            with pytest.raises(BadParameter, match="no parameter 'x'"):
                await wished(made, view, parameters={"n": "7", "x": "1"}, from_text=True)
            with pytest.raises(BadParameter, match="needs the parameter 'n'"):
                await wished(made, view, parameters={})

    async def test_an_unknown_name_is_the_server_s_answer(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            await made.client.register(sample_flows.crawl)
            with pytest.raises(NotFound, match="did you mean 'crawl'"):
                await made.client.start("crawll")


class TestOtherHomes:
    async def test_another_key_cannot_ask_and_both_keys_are_named(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            await made.client.register(sample_flows.crawl)
            other = home_in(tmp_path / "home", PLAYHEAD_KEY=MasterKey.random().export())
            with pytest.raises(TrustError) as caught:
                await Client(made.api, home=other).start("crawl", parameters={"n": 1})
            assert made.home.keys.current.id in str(caught.value)
            assert other.keys.current.id in str(caught.value)

    async def test_another_storage_is_named_and_not_written_to(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            await made.client.register(sample_flows.crawl)
            other = home_in(tmp_path / "home", PLAYHEAD_STORAGE=str(tmp_path / "other"))
            with pytest.raises(StorageLost, match=f"flow crawl is kept in storage {made.home.storage.id}"):
                await Client(made.api, home=other).start("crawl", parameters={"n": 1})
            assert not (tmp_path / "other").exists()

    async def test_a_seal_that_was_deleted_says_so(self, tmp_path: Path) -> None:
        async with world(tmp_path) as made:
            view = await made.client.register(sample_flows.crawl)
            (tmp_path / "home" / "storage" / "flows" / "crawl" / view.registered.seal).unlink()
            with pytest.raises(StorageLost, match="the seal of flow crawl is gone"):
                await made.client.start("crawl", parameters={"n": 1})


def _numbered(number: int) -> Any:
    @flow(name="numbered")
    def numbered() -> int:
        return number

    return numbered


def _file(folder: Path) -> Path:
    file = folder / "asking_etl.py"
    file.write_text(SOURCE)
    return file
