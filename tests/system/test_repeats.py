"""A ticket of a run that has ended, offered again by a server that knows nothing of it: as an old or a lying one would."""

from __future__ import annotations

import json
import shutil
import urllib.request

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


def offer_again(host: Machine, run: str) -> None:
    """The run under its own id, without a new ticket."""
    with urllib.request.urlopen(f"{host.url()}/api/flows/chain", timeout=WAIT_SECONDS) as answer:
        seal = json.load(answer)["registered"]["seal"]
    body = json.dumps({"run": run, "flow": "chain", "seal": seal}).encode()
    request = urllib.request.Request(f"{host.url()}/api/runs", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS):
        pass


def test_a_run_whose_journal_is_there_is_not_run_again(host: Machine) -> None:
    run = ended_run(host)
    offer_again(host, run)
    said = f"run {run} was not claimed: storage holds runs/{run}/1-"
    host.wait_for(lambda: said in (host.home / "up.out").read_text(), "the agent to refuse it")
    assert host.view(run)["state"] == "ready"
    assert host.done() == ["step 0"], "none of the flow's code ran again"


def test_what_remains_a_run_whose_journals_are_gone_too_is_repeated(host: Machine) -> None:
    """Not a promise: whoever holds the server and can delete from storage has this power, and docs/BLIND.md says so."""
    run = ended_run(host)
    for epoch in (host.home / "storage" / "runs" / run).glob("*-*"):
        shutil.rmtree(epoch)
    offer_again(host, run)
    assert host.ended(run)["state"] == "succeeded"
    assert host.done() == ["step 0", "step 0"]
