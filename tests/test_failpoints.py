"""Failpoints: their table is that of the source, they act when and where they are told to, and cost nothing while they are off."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from playhead import failpoints
from playhead.errors import UsageError
from playhead.failpoints import BOUNDARIES, EXIT_CODE, ONCE_VARIABLE, VARIABLE, armed, reach
from tests.rooms import modules


def test_the_table_holds_every_boundary_of_the_source_and_no_other() -> None:
    reached = Counter(
        ast.literal_eval(node.args[0])
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reach"
    )
    listed = Counter(name for boundaries in BOUNDARIES.values() for name in boundaries)
    assert reached == listed, "each boundary is one place, and each place has a name of its own"


def test_a_boundary_acts_at_the_time_that_it_was_told_and_never_again() -> None:
    reach("journal.synced")
    with armed("journal.synced=raise(ENOSPC)@2, log.committed=delay(0)"):
        reach("journal.synced")
        reach("journal.writing")
        with pytest.raises(OSError, match=r"No space left on device.*journal\.synced"):
            reach("journal.synced")
        reach("journal.synced")
        reach("log.committed")
    reach("journal.synced")
    reach("journal.synced")


def test_a_boundary_acts_once_for_all_who_share_a_folder_and_says_that_it_was_reached(tmp_path: Path) -> None:
    for first in (True, False):
        with armed("order.written=raise(EIO)", once=tmp_path):
            if first:
                with pytest.raises(OSError, match=r"order\.written"):
                    reach("order.written")
            else:
                reach("order.written")
    assert [file.name for file in tmp_path.iterdir()] == ["order.written"]


@pytest.mark.parametrize(
    "wanted",
    ["journal.synced", "journal.synced=burn", "journal.synced=kill@0", "log.committed=raise(ENOTHING)", "a.b=kill", "log.committed=delay"],
)  # fmt: skip
def test_what_is_no_failpoint_is_an_error_that_says_what_is(wanted: str) -> None:
    with pytest.raises(UsageError) as refused, armed(wanted):
        pass
    assert refused.value.hint


@pytest.mark.parametrize(("action", "code"), [("kill", -signal.SIGKILL), ("exit", EXIT_CODE)])
def test_the_environment_arms_a_process(action: str, code: int) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from playhead.failpoints import reach; reach('flow.loaded'); print('alive')"],
        env={**os.environ, VARIABLE: f"flow.loaded={action}"}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert told.returncode == code
    assert "alive" not in told.stdout
    assert "failpoints are armed" in told.stderr, "nobody is to wonder why"


def test_a_process_may_stop_at_a_boundary_and_go_on_when_it_is_told_to() -> None:
    stopped = subprocess.Popen(
        [sys.executable, "-c", "from playhead.failpoints import reach; reach('flow.loaded')"],
        env={**os.environ, VARIABLE: "flow.loaded=stop"}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _, status = os.waitpid(stopped.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait(30) == 0
    finally:
        stopped.kill()
        stopped.wait()


def test_nothing_is_armed_unless_the_environment_says_so() -> None:
    assert VARIABLE not in os.environ
    assert ONCE_VARIABLE not in os.environ
    assert failpoints._armed == {}  # pyright: ignore[reportPrivateUsage] — that it is empty is all that makes it free
    reach("journal.synced")
