"""The whole way with real processes: server, event stream, agent, runner, executor, and back."""

from __future__ import annotations

import itertools
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.system.machine import FLOWS, PLAYHEAD, Machine

pytestmark = pytest.mark.real

FILE = str(FLOWS)


def test_a_flow_goes_the_whole_way_sealed_by_file_by_module_and_by_value(host: Machine) -> None:
    up = host.up()
    for sealed_by, target in (("file", f"{FILE}:fan_out"), ("module", "flows:fan_out"), ("value", f"{FILE}:fan_out")):
        host.playhead("register", target, "--by", sealed_by)
        done = host.json("run", "fan_out", "-p", "width=7")
        assert (done["state"], done["result"]) == ("succeeded", 28)
        shown = host.show(done["run_id"])
        assert shown["agent"] is not None
        assert [task["key"] for task in shown["tasks"]] == [f"step.{number}" for number in range(7)]
    assert host.end(up) == 0
    assert host.json("runs")[0]["state"] == "succeeded", "a later command reads the same log without a server"


def test_nothing_is_left_running_when_the_engine_ends(host: Machine) -> None:
    up = host.up()
    host.playhead("register", f"{FILE}:waits")
    run = host.ask("waits")
    pid = host.runner(run)
    assert host.end(up) == 0
    host.wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the runner to end with its engine")
    assert not (host.home / "server.json").exists()


def test_a_flow_that_fails_and_one_that_exits_have_codes_of_their_own(host: Machine) -> None:
    host.up()
    for flow, code, state in (("fails", 1, "failed"), ("leaves", 1, "failed"), ("exits", 4, "crashed")):
        host.playhead("register", f"{FILE}:{flow}")
        done = host.playhead("run", flow, "--json", check=False)
        assert done.returncode == code, done.stderr
        run = host.json("runs", "--flow", flow)[0]["run_id"]
        assert host.show(run)["state"] == state
    assert host.done().count("exits") == 3, "a flow that kills its process is stopped at the limit"
    told = host.playhead("show", "fails@last", "--failures").stdout
    assert "LookupError" in told
    assert "secret-word" in told


def test_a_segfault_names_its_task_and_takes_only_its_worker_along(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FILE}:segfault_there")
    done = host.json("run", "segfault_there")
    assert done["result"] == 2
    task = host.show(done["run_id"])["tasks"][0]
    assert (task["name"], task["state"]) == ("crash", "failed")
    host.playhead("register", f"{FILE}:segfault_here")
    done = host.playhead("run", "segfault_here", "--json", check=False)
    assert done.returncode == 4
    events = host.playhead("events", "segfault_here@last", "--json").stdout
    lost = [json.loads(line) for line in events.splitlines() if '"run.lost"' in line]
    assert [event["data"].get("signal") for event in lost] == [signal.SIGSEGV] * 3


def test_the_server_learns_nothing_of_what_flows_say(host: Machine) -> None:
    """The words that a flow's failure, parameters and results hold are in no file of the server's."""
    host.up()
    host.playhead("register", f"{FILE}:fails")
    host.playhead("run", "fails", check=False)
    for name in ("log.db", "log.db-wal", "views.db", "views.db-wal"):
        path = host.home / name
        if path.exists():
            for word in (b"secret-word", b"LookupError", b"flows.py", str(host.home).encode()):
                assert word not in path.read_bytes(), f"{word!r} is in {name}"


def test_a_cancelled_run_ends(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FILE}:waits")
    run = host.ask("waits")
    host.wait_for(lambda: host.show(run)["state"] == "running", "the run to begin")
    host.playhead("cancel", run)
    assert host.ended(run)["state"] == "cancelled"


def test_a_flow_that_holds_its_thread_keeps_its_lease(host: Machine) -> None:
    host.env["PLAYHEAD_LEASE_SECONDS"] = "1.5"
    host.up()
    host.playhead("register", f"{FILE}:blocks")
    done = host.json("run", "blocks", "-p", "seconds=4")
    assert done["result"] == "held"
    assert host.show(done["run_id"])["attempt"] == 1


def test_a_schedule_runs_once_for_each_of_its_times_also_across_a_restart(host: Machine) -> None:
    up = host.up()
    host.playhead("register", f"{FILE}:ticks")

    def ticks() -> list[str]:
        return [line for line in host.done() if line.startswith("tick")]

    host.wait_for(lambda: len(ticks()) >= 2, "two scheduled runs")
    host.end(up)
    up = host.up()
    before = len(ticks())
    host.wait_for(lambda: len(ticks()) >= before + 2, "more scheduled runs")
    host.end(up)
    runs = host.json("runs", "--flow", "ticks")
    due = [run["scheduled_for"] for run in runs]
    assert len(due) == len(set(due)), "one run for each scheduled time"
    seconds = sorted(int(moment[17:19]) + 60 * int(moment[14:16]) for moment in due)
    gaps = {(later - earlier) % 3600 for earlier, later in itertools.pairwise(seconds)}
    assert gaps <= {1}, f"no time is left out: {due}"


def test_eight_programs_in_one_home_at_once_lose_nothing(host: Machine) -> None:
    """Each runs flows without a server; three of them are killed in the middle."""
    program = (
        "import flows, sys, os\n"
        "for number in range(4):\n"
        "    print('ran', flows.chain(length=3, seconds=0.02), flush=True)\n"
    )
    programs = [host.start(sys.executable, "-c", program, name=f"program-{number}") for number in range(8)]
    outputs = [host.home / f"program-{number}.out" for number in range(8)]
    for number in (0, 3, 5):
        host.wait_for(lambda number=number: outputs[number].read_text().count("ran") >= 1, "a program's first run")  # type: ignore[misc]  # a default binds the loop's value
        programs[number].kill()
    for number, process in enumerate(programs):
        code = process.wait(90)
        if number not in (0, 3, 5):
            assert code == 0, outputs[number].read_text()
    acknowledged = sum(output.read_text().count("ran 3") for output in outputs)
    runs = host.json("runs", "--limit", "100")
    assert sum(run["state"] == "succeeded" for run in runs) >= acknowledged
    whole = [host.show(run["run_id"]) for run in runs if run["state"] == "succeeded"]
    assert all([task["state"] for task in run["tasks"]] == ["succeeded"] * 3 for run in whole)
    assert len(runs) >= 5 * 4 + 3


def test_an_embedded_run_is_seen_by_a_later_engine(host: Machine) -> None:
    done = host.json("run", f"{FILE}:chain", "--embedded", "-p", "length=2")
    assert done["result"] == 2
    host.up()
    assert host.show(done["run_id"])["state"] == "succeeded"
    assert host.json("agents")


def test_an_agent_elsewhere_serves_a_server_without_one(host: Machine) -> None:
    host.server()
    host.playhead("register", f"{FILE}:fan_out")
    agent = host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), name="agent")
    done = host.json("run", "fan_out", "-p", "width=3")
    assert done["result"] == 6
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 0


def test_logs_events_and_replay_tell_the_same_story(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FILE}:chain")
    run = host.json("run", "chain", "-p", "length=3")["run_id"]
    events = [json.loads(line) for line in host.playhead("events", run, "--json").stdout.splitlines()]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    for field in ("position", "stream", "version", "type", "schema", "actor", "epoch", "recorded_at", "data"):
        assert all(field in event for event in events), field
    last = host.json("replay", run, "--at", str(len(events)))
    assert last == host.show(run)
    halfway = host.json("replay", run, "--at", "8")
    assert halfway["state"] == "running"
    assert halfway.keys() == last.keys()
