"""A ticket of a run that has ended, offered again by a server that knows nothing of it: as an old or a lying one would."""

from __future__ import annotations

import json
import shutil
import urllib.request
from typing import Any

import pytest

from tests.system.machine import FLOWS, WAIT_SECONDS, Machine

pytestmark = pytest.mark.real


def ended_run(host: Machine) -> str:
    """A run that has ended, of a server that has lost its log since, and knows the flow again."""
    up = host.up()
    host.playhead("register", f"{FLOWS}:chain")
    run: str = host.json("run", "chain", "-p", "length=1")["run_id"]
    assert host.done() == ["step 0"]
    host.end(up)
    for path in (*host.home.glob("log.db*"), *host.home.glob("views.db*")):
        path.unlink()
    host.up()
    host.playhead("register", f"{FLOWS}:chain")
    return run


def offer_again(host: Machine, run: str) -> dict[str, Any]:
    """The run under its own id, without a new ticket; as it ended."""
    with urllib.request.urlopen(f"{host.url()}/api/flows/chain", timeout=WAIT_SECONDS) as answer:
        seal = json.load(answer)["registered"]["seal"]
    body = json.dumps({"run": run, "flow": "chain", "seal": seal}).encode()
    request = urllib.request.Request(f"{host.url()}/api/runs", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS):
        pass
    return host.ended(run)


def test_a_run_whose_journal_is_there_is_not_run_again(host: Machine) -> None:
    run = ended_run(host)
    shown = offer_again(host, run)
    assert (shown["state"], shown["error"]["category"]) == ("failed", "trust")
    told = host.playhead("show", run, "--failures").stdout
    assert "begun before, and the server does not tell of it" in told
    assert f"runs/{run}/1-" in told
    assert host.done() == ["step 0"], "none of the flow's code ran again"


def test_what_remains_a_run_whose_journals_are_gone_too_is_repeated(host: Machine) -> None:
    """Not a promise: whoever holds the server and can delete from storage has this power, and docs/BLIND.md says so."""
    run = ended_run(host)
    for epoch in (host.home / "storage" / "runs" / run).glob("*-*"):
        shutil.rmtree(epoch)
    assert offer_again(host, run)["state"] == "succeeded"
    assert host.done() == ["step 0", "step 0"]
