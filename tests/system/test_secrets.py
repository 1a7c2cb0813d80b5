"""Secrets on real processes: where keys are and are not, what encrypted storage shows, and runs that need no key to be asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from playhead.client.client import Client
from playhead.home import Home
from playhead.settings import Settings
from playhead.trust.keyfile import KeyFile
from playhead.trust.keys import DerivedKey, MasterKey
from tests.system.machine import PLAYHEAD, WAIT_SECONDS, Machine

pytestmark = pytest.mark.real

FLOWS = Path(__file__).with_name("secret_flows.py")


def forms(key: MasterKey | DerivedKey) -> list[bytes]:
    """A key as it may stand in an argument, an environment or a memory."""
    return [key.secret, key.secret.hex().encode(), base64.urlsafe_b64encode(key.secret).rstrip(b"=")]


def test_keys_are_in_no_argument_and_no_environment_and_a_zygote_never_held_them(host: Machine) -> None:
    up = host.up()
    host.playhead("register", f"{FLOWS}:holds")
    run = host.ask("holds")
    runner = psutil.Process(host.runner(run))
    host.wait_for(lambda: host.view(run)["tasks"] and runner.children(recursive=True), "a worker to be at work")
    master = KeyFile(host.home, {}).read().current
    derived = (master.run_key(run), master.flow_key("holds"))
    agent = psutil.Process(up.pid)
    family = {each.pid: each for each in (agent, *agent.children(recursive=True), runner, *runner.children(True))}
    assert len(family) >= 4, "server and agent, zygote, runner, and a worker with the nursery that made it"
    for process in family.values():
        told = _read(process.pid, "cmdline") + _read(process.pid, "environ")
        secret: MasterKey | DerivedKey
        for secret in (master, *derived):
            assert not [form for form in forms(secret) if form in told], f"a key is in the arguments of {process}"
    assert _holds(agent.pid, forms(master)), "the agent has the master key: else this looks in the wrong way"
    others = [pid for pid in family if pid != agent.pid]
    assert [pid for pid in others if _holds(pid, forms(master))] == [], "no master key beyond the agent"
    assert _holds(runner.pid, forms(derived[0])), "the runner has the key of its run"
    strangers = [pid for pid in others if pid != runner.pid]
    assert [pid for pid in strangers if any(_holds(pid, forms(key)) for key in derived)] == [], "nobody else has it"
    host.playhead("cancel", run)
    host.ended(run)


def test_a_key_given_by_the_environment_goes_no_further_than_the_agent(host: Machine) -> None:
    master = MasterKey.random()
    host.env["PLAYHEAD_KEY"] = master.export()
    up = host.up()
    host.playhead("register", f"{FLOWS}:holds")
    run = host.ask("holds")
    runner = psutil.Process(host.runner(run))
    host.wait_for(lambda: host.view(run)["tasks"] and runner.children(recursive=True), "a worker to be at work")
    below = psutil.Process(up.pid).children(recursive=True)
    for process in {each.pid: each for each in (*below, runner, *runner.children(True))}.values():
        environment = _read(process.pid, "environ")
        assert b"PLAYHEAD_KEY" not in environment
        assert not [form for form in forms(master) if form in environment]
    assert not (host.home / "key").exists()
    host.playhead("cancel", run)
    host.ended(run)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _holds(pid: int, secrets: list[bytes]) -> bool:
    """Whether one of them is in the process's memory."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except PermissionError:
        if os.environ.get("CI"):
            raise
        pytest.skip("this system lets nobody read another process's memory")
    try:
        for line in maps:
            span, rights, *_ = line.split()
            begin, end = (int(each, 16) for each in span.split("-"))
            if rights[:2] != "rw":
                continue
            try:
                content = os.pread(memory, end - begin, begin)
            except OSError:  # a mapping that is not memory
                continue
            if any(secret in content for secret in secrets):
                return True
    finally:
        os.close(memory)
    return False


def test_encrypted_storage_shows_none_of_what_a_run_was_made_of(host: Machine) -> None:
    host.env["PLAYHEAD_ENCRYPT"] = "1"
    up = host.up()
    for flow in ("secretive", "secretive_there"):
        host.playhead("register", f"{FLOWS}:{flow}", "--preset", "nightly", "-p", "word=canary-preset-7f3a")
        done = host.json("run", flow, "-p", "word=canary-parameter-7f3a")
        assert done["result"] == "canary-outcome-7f3a canary-parameter-7f3a"
        lines = host.playhead("logs", done["run_id"]).stdout
        assert "canary-line-7f3a canary-parameter-7f3a" in lines
        assert "canary-print-7f3a" in lines
    failures = host.playhead("show", "secretive@last", "--failures").stdout
    assert "LookupError: canary-failure-7f3a" in failures
    assert host.json("run", "secretive", "--preset", "nightly")["result"] == "canary-outcome-7f3a canary-preset-7f3a"
    host.end(up)
    assert host.json("run", f"{FLOWS}:secretive", "--embedded")["result"] == "canary-outcome-7f3a canary-default-7f3a"
    assert _words(host) == []
    host.env.pop("PLAYHEAD_ENCRYPT")
    host.playhead("run", f"{FLOWS}:secretive", "--embedded")
    assert _words(host), "without encryption they are found: else this looks in the wrong place"


def _words(host: Machine) -> list[str]:
    """The objects in storage in which a planted word stands."""
    objects = [path for path in (host.home / "storage").rglob("*") if path.is_file()]
    assert objects
    return [str(path) for path in objects if b"canary-" in path.read_bytes() or "canary-" in str(path)]


def test_a_preset_can_be_asked_for_without_the_key_and_nothing_else_can(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FLOWS}:echo", "--preset", "nightly", "-p", "word=from the preset")
    host.playhead("register", f"{FLOWS}:echo", "--preset", "defaults")
    runs = [_post(host, preset=preset)["run"] for preset in ("nightly", "defaults")]
    assert [host.ended(run)["state"] for run in runs] == ["succeeded", "succeeded"]
    assert _post(host, preset="nightly", nonce="ab" * 8)["run"] == _post(host, preset="nightly", nonce="ab" * 8)["run"]
    assert host.json("run", "echo", "--preset", "nightly")["result"] == "from the preset"
    refused = host.playhead("run", "echo", "--preset", "hourly", "--json", check=False)
    assert refused.returncode == 2
    assert "nightly" in json.loads(refused.stderr)["error"]["hint"]


def _post(host: Machine, **fields: str) -> dict[str, Any]:
    """As the line with curl in the docs does."""
    body = json.dumps({"flow": "echo", **fields}).encode()
    request = urllib.request.Request(f"{host.url()}/api/runs/preset", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_an_agent_with_a_list_takes_what_is_on_it_and_leaves_the_rest(host: Machine) -> None:
    host.server()
    host.start(*PLAYHEAD, "agent", "local", "--allow-flow", "ech*", "--allow-code", "file", name="choosy")
    host.playhead("register", f"{FLOWS}:echo")
    host.playhead("register", f"{FLOWS}:holds")
    left, taken = host.ask("holds"), host.ask("echo")
    assert host.ended(taken)["state"] == "succeeded"
    story = host.wait_for(
        lambda: [e for e in _events(host, left) if e["type"] == "run.released"], "it to be handed back"
    )
    assert story[0]["data"] == {"epoch": 1, "reason": "not_allowed"}
    assert host.view(left)["state"] == "ready"
    host.start(*PLAYHEAD, "agent", "local", "--name", "generous", name="generous")
    host.runner(left)
    host.playhead("cancel", left)
    host.ended(left)


def _events(host: Machine, run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.playhead("events", run, "--json").stdout.splitlines()]


def test_a_rotation_while_everything_works_costs_nothing(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{FLOWS}:echo", "--preset", "nightly", "-p", "word=kept")
    host.playhead("register", f"{FLOWS}:holds")
    before = host.json("run", "echo", "-p", "word=before")
    running = host.ask("holds")
    host.runner(running)
    rotated = host.json("key", "rotate")
    assert rotated["resealed"] == ["echo", "holds"]
    assert host.json("run", "echo", "-p", "word=after")["result"] == "after"
    assert host.json("run", "echo", "--preset", "nightly")["result"] == "kept"
    assert host.json("agents")[0]["key_ids"][0] == rotated["key_id"]
    assert host.view(running)["state"] == "running"
    host.playhead("cancel", running)
    assert host.ended(running)["state"] == "cancelled"
    assert asyncio.run(_result(host, before["run_id"])) == "before"


async def _result(host: Machine, run: str) -> object:
    home = Home.open(Settings.load({"home": str(host.home)}, env={}), env={})
    async with Client(host.url(), home=home) as client:
        result: object = await client.flow_run(run).result()
        return result
