"""`playhead store check`: what a store keeps of its contract, shown to people and to programs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from playhead.core.names import StreamName
from playhead.log import open_backend
from playhead.testing.stores import samples
from tests.cli.conftest import Call

CHECK = "no_stream_is_checked"
PLANTED = "tests.conformance.planted_stores:open_skipping_on_conflict"


def test_a_store_that_passes(call: Call) -> None:
    answer = call("store", "check", "sqlite://{tmp}/log.db", "--only", CHECK, "--only", "one_leads_at_a_time")
    assert answer.code == 0
    assert [line.split()[:2] for line in answer.out.splitlines() if CHECK in line] == [[CHECK, "passed"]]
    assert "not offered: shared" in answer.out
    assert answer.out.endswith("all 1 checks passed, 1 do not apply\n")


def test_a_store_that_does_not(call: Call) -> None:
    answer = call("store", "check", PLANTED, "--only", CHECK, "--only", "any_version_is_taken")
    assert answer.code == 1
    assert [line.split()[:2] for line in answer.out.splitlines() if line.startswith(CHECK + " ")] == [[CHECK, "FAILED"]]
    assert "expecting no stream where there is one gave Appended" in answer.out
    assert answer.out.endswith("1 of 2 checks failed\n")


def test_for_programs(call: Call) -> None:
    told = call("store", "check", PLANTED, "--json", "--seed", 7, "--only", CHECK, "--only", "one_leads_at_a_time").json
    (check,) = told["checks"]
    assert (told["passed"], told["seed"], told["omitted"]) == (False, 7, {"one_leads_at_a_time": "not offered: shared"})
    assert (check["name"], check["passed"], check["seconds"] >= 0) == (CHECK, False, True)
    assert check["problem"].startswith("expecting no stream")
    assert call("store", "check", PLANTED, "--json", "--only", "any_version_is_taken").json["passed"]


def test_a_log_that_is_somebodys_is_left_alone(call: Call, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/log.db"
    arguments = ("store", "check", url, "--only", CHECK)
    assert call(*arguments).code == 0
    assert call(*arguments).code == 0, "what the checks wrote before is nobody's"

    async def write() -> None:
        backend = await open_backend(url)
        await backend.commit([samples.new_append(StreamName("default/run/1"))])
        await backend.close()

    asyncio.run(write())
    refused = call(*arguments, "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")
    assert "default/run/1" in refused.error["message"]
    assert "--anyway" in refused.error["hint"]
    assert call(*arguments, "--anyway").code == 0


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_such_check_or_store(call: Call, tmp_path: Path, form: list[str]) -> None:
    assert call("store", "check", "memory:", "--only", "nonsense", *form).code == 2
    assert call("store", "check", "nonsense:", *form).code == 2
    (tmp_path / "log.db").write_text("no log")
    assert call("store", "check", f"sqlite://{tmp_path}/log.db", *form).code == 3
