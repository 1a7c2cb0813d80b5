"""Two machines: a server that requires tokens behind a proxy with TLS, and elsewhere an agent, its runners and a user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from playhead.credentials import read_token
from tests.system.machine import FLOWS, PLAYHEAD, Machine, machine
from tests.system.tls import tls_proxy

pytestmark = pytest.mark.real

SECRETS = """
import os
from playhead import ProcessExecutor, flow, task

def seen():
    return sorted(name for name in os.environ if name.startswith("PLAYHEAD_") and name != "PLAYHEAD_RUNNER")

@task
def seen_by_a_worker():
    return seen()

@flow(executor=ProcessExecutor(workers=1))
def looks_around():
    return [seen(), seen_by_a_worker()]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "server").mkdir()
    with machine(tmp_path / "server") as host:
        yield host


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "user").mkdir()
    with machine(tmp_path / "user") as host:
        yield host


def test_a_run_goes_its_whole_way_by_tls_and_tokens(server: Machine, user: Machine, tmp_path: Path) -> None:
    files = {scope: tmp_path / f"{scope}.token" for scope in ("viewer", "client", "agent")}
    for scope, file in files.items():
        server.playhead("token", "create", scope, "--scope", scope, "--to", str(file))
    server.server("0", "--require-tokens", "--json")
    announced: str = json.loads((server.home / "server.out").read_text().splitlines()[0])["url"]
    port = urlsplit(announced).port
    assert port is not None
    with tls_proxy(port, tmp_path) as (url, authority):
        user.env |= {"PLAYHEAD_SERVER": url, "SSL_CERT_FILE": str(authority)}
        refused = user.playhead("runs", check=False)
        assert (refused.returncode, "asks for a token" in refused.stderr) == (2, True)
        agent = user.start(*PLAYHEAD, "agent", "local", name="agent", env={"PLAYHEAD_TOKEN_FILE": str(files["agent"])})
        user.env["PLAYHEAD_TOKEN_FILE"] = str(files["client"])
        _runs_and_shows_no_secret(user, tmp_path)
        _each_has_its_scope(user, files["viewer"])
        _a_stranger_is_not_believed(user)

        run = user.ask("waits")
        runner = user.runner(run)
        user.wait_for(lambda: user.json("show", run)["state"] == "running" or None, "the run to begin")
        server.playhead("token", "revoke", "agent")  # through the home's own socket: without a token
        assert agent.wait(60) == 2
        said = (user.home / "agent.out").read_text()
        assert "the token 'agent' was revoked" in said
        assert Path(f"/proc/{runner}").exists(), "its runner goes on"
        user.playhead("cancel", run)
        user.wait_for(lambda: user.json("show", run)["state"] == "cancelled" or None, "the runner to hear of it")
        for file in files.values():
            secret = read_token(file).text[-20:]
            assert secret not in said
            assert not any(secret.encode() in path.read_bytes() for path in server.home.rglob("*") if path.is_file())


def _runs_and_shows_no_secret(user: Machine, folder: Path) -> None:
    (folder / "secrets_flow.py").write_text(SECRETS)
    user.playhead("register", str(folder / "secrets_flow.py"))
    user.playhead("register", f"{FLOWS}:waits")
    done = user.json("run", "looks_around")
    assert done["state"] == "succeeded", done
    for seen in done["result"]:
        assert "PLAYHEAD_SERVER" in seen
        assert not {"PLAYHEAD_TOKEN", "PLAYHEAD_TOKEN_FILE", "PLAYHEAD_KEY"} & set(seen)


def _each_has_its_scope(user: Machine, viewer: Path) -> None:
    assert user.playhead("--token-file", str(viewer), "runs").returncode == 0
    refused = user.playhead("--token-file", str(viewer), "run", "looks_around", "--no-wait", check=False)
    assert (refused.returncode, "a token of the scope viewer is not for this" in refused.stderr) == (2, True)
    refused = user.playhead("token", "list", check=False)
    assert (refused.returncode, "admin" in refused.stderr) == (2, True)


def _a_stranger_is_not_believed(user: Machine) -> None:
    """A proxy whose certificate nobody vouches for gets no token."""
    trusted = user.env.pop("SSL_CERT_FILE")
    unknown = user.playhead("runs", check=False)
    user.env["SSL_CERT_FILE"] = trusted
    assert (unknown.returncode, "certificate that is not trusted" in unknown.stderr) == (3, True), unknown.stderr
    assert "SSL_CERT_FILE" in unknown.stderr
