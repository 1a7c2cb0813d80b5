"""A disk that reports errors: what was not flushed is acknowledged to nobody, and no flush is tried again on the same file (S2, S12)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.faults.injected import FLUSHES, injected
from tests.faults.stories import FLOWS, ended_well, linear, steps_of, told_steps
from tests.system.machine import Machine

pytestmark = pytest.mark.faults

FLUSHED: Final = re.compile(r"fdatasync\(\d+<(?P<file>[^>]*)>")


@pytest.mark.parametrize("calls", [FLUSHES, "pwrite64"])
def test_a_log_that_cannot_be_flushed_acknowledges_nothing_until_it_can(
    host: Machine, tmp_path: Path, calls: str
) -> None:
    server = host.server()
    host.playhead("register", f"{FLOWS}:chain")
    host.agent()
    run = host.ask("chain", length=30, seconds=0.1)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with injected(server.pid, calls, "error=EIO", path=host.home / "log.db-wal", to=tmp_path / "calls") as fault:
        host.wait_for(lambda: fault.met, "a commit to fail")
        acknowledged = told_steps(host, run)
        before = len(steps_of(host))
        host.wait_for(lambda: len(steps_of(host)) >= before + 3, "the runner to go on without a log")
        refused = host.playhead("run", "chain", "-p", "length=0", "--no-wait", check=False)
        assert refused.returncode == 3, refused
        assert "the disk failed under a commit" in refused.stderr
        assert "check the disk" in refused.stderr
        assert told_steps(host, run) == acknowledged, "what was not flushed is told to nobody"
    ended_well(host, run, steps=30)


@pytest.mark.parametrize("calls", ["fdatasync", "pwrite64"])
def test_a_journal_whose_write_fails_goes_on_in_a_new_file(host: Machine, tmp_path: Path, calls: str) -> None:
    host.up()
    host.playhead("register", f"{FLOWS}:chain")
    run = host.ask("chain", length=10, seconds=0.2)
    host.wait_for(lambda: steps_of(host), "a step")
    (segment,) = host.home.glob(f"storage/runs/{run}/1-*/segments/000001")
    with injected(host.runner(run), calls, "error=EIO", path=segment, to=tmp_path / "calls") as fault:
        host.wait_for(lambda: fault.met, "a write of the journal to fail")
        ended_well(host, run, steps=10)
        assert len(fault.calls) == 1, "after its failure the file is written and flushed no more"
    assert (segment.parent / "000002").exists()


def test_a_journal_that_cannot_be_flushed_at_all_ends_its_runner_and_says_why(host: Machine, tmp_path: Path) -> None:
    """The next runner is not under the fault. What was not flushed counts for nobody; what was is not run again."""
    host.up()
    host.playhead("register", f"{FLOWS}:chain")
    run = host.ask("chain", length=10, seconds=0.2)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with injected(host.runner(run), "fdatasync", "error=EIO", to=tmp_path / "calls") as fault:
        host.wait_for(lambda: host.view(run)["attempt"] == 2, "a successor")
        acknowledged = told_steps(host, run)
        flushed = Counter(match["file"] for call in fault.calls if (match := FLUSHED.search(call)))
        assert set(flushed.values()) == {1}, "a flush was tried again on a file on which it had failed"
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", 2)
    done = Counter(steps_of(host))
    assert all(done[f"step {number}"] == 1 for number in range(acknowledged - 1)), "an acknowledged step ran again"
    assert sum(done.values()) <= 11, "only what was in flight may run twice"
    events = linear(host, run)
    (lost,) = [event["data"] for event in events if event["type"] == "run.lost"]
    assert lost["exit_code"] == 74
    (said,) = host.home.glob(f"agents/*/ended/{run}-1/stderr")
    assert "Input/output error" in said.read_text()
    assert "the disk reports an error" in said.read_text()
