"""`playhead store`: what a store keeps of its contract, shown to people and to programs."""

from __future__ import annotations

from pathlib import Path

from playhead.testing.stores import STORE_CHECKS
from tests.cli.conftest import Call


def test_a_store_that_passes(call: Call, tmp_path: Path) -> None:
    answer = call("store", "check", f"sqlite://{tmp_path}/log.db", "--only", "no_stream_is_checked")
    assert answer.code == 0
    assert "no_stream_is_checked" in answer.out
    assert "all 1 checks passed" in answer.out


def test_all_checks_for_programs(call: Call) -> None:
    told = call("store", "check", "memory:", "--json").json
    assert told["passed"]
    assert [check["name"] for check in told["checks"]] == list(STORE_CHECKS.names)
    assert all(check["passed"] and check["problem"] is None and check["seconds"] >= 0 for check in told["checks"])


def test_no_such_check_or_store(call: Call, tmp_path: Path) -> None:
    assert call("store", "check", "memory:", "--only", "nonsense").code == 2
    answer = call("store", "check", "nonsense:", "--json")
    assert (answer.code, answer.error["code"]) == (2, "usage")
    (tmp_path / "log.db").write_text("no log")
    assert call("store", "check", f"sqlite://{tmp_path}/log.db").code == 3
