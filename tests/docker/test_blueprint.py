"""What the engine is asked for, what goes in by file, and what an agent's lists take: without any engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from playhead.agent.infrastructure import Exit
from playhead.core.events import Origin
from playhead.errors import LaunchFailed, UsageError
from playhead.flows.mounts import Mount
from playhead.flows.run_config import DockerRun, LocalRun, UniversalRun, parse_run_config
from playhead.runner.bootstrap import MAX_FILED_BYTES, RunnerOrder
from playhead.trust.seal import FileCode, Seal
from playhead_adapters.infrastructure.docker.allowed import DockerAllowed
from playhead_adapters.infrastructure.docker.blueprint import Ground, blueprint
from playhead_adapters.infrastructure.docker.container import end_of
from playhead_adapters.infrastructure.docker.daemon import DaemonUnreachable, hint_for
from playhead_adapters.infrastructure.docker.images import credentials_for, registry_of

SECRETS = ("5ec7e7000001", "run-key-text", "flow-key-text", "token-text", "planted")
ORDER = RunnerOrder(
    server="http://localhost:4317", agent="one", run="ab" * 16, epoch=2, grant=SECRETS[0], flow="census", seal="5ea1" * 8,
    origin=Origin.ASKED, scheduled_for=1, executor="thread", storage_url="file:///srv/playhead%20storage", storage_id="57" * 8,
    key_id="4e" * 8, run_key=SECRETS[1], flow_key=SECRETS[2], token=SECRETS[3], lease_seconds=15.0,
)  # fmt: skip
GROUND = Ground(default_image="acme/flows:1", python="3.11", owner=(1000, 100), env={"AGENTS": "planted"})


def seal_of(**run_config: Any) -> Seal:
    code = FileCode(source=b"", stem="census", qualname="census")
    return Seal(flow="census", code=code, executor={}, run_config=DockerRun(**run_config).model_dump(mode="json"))


def test_what_the_engine_is_told_holds_no_secret_and_the_order_all_of_it() -> None:
    made = blueprint(ORDER, DockerRun(env={"SEALS": "planted"}), GROUND, "mine")
    assert [secret for secret in SECRETS if secret in json.dumps(made.config)] == []
    assert RunnerOrder.parse(made.order.to_bytes(), MAX_FILED_BYTES).env == {"AGENTS": "planted"}
    assert made.order.run_key == SECRETS[1]
    assert made.name == f"playhead-{ORDER.run}-2"


def test_all_that_a_flow_may_ask_for_reaches_the_engine() -> None:
    asked = DockerRun(
        image="acme/etl:3", python="/opt/bin/python", pull="always", mounts=("/data:/in:ro", "cache:/cache"), network="inner",
        memory_mb=512, cpus=1.5, gpus=2, working_dir="/flows", container_labels={"team": "census", "playhead.run": "forged"},
    )  # fmt: skip
    made = blueprint(ORDER, asked, GROUND, "mine")
    config, limits = made.config, made.config["HostConfig"]
    assert (made.image, made.pull, config["Image"], config["WorkingDir"]) == (
        "acme/etl:3",
        "always",
        "acme/etl:3",
        "/flows",
    )
    assert config["Entrypoint"][0] == "/opt/bin/python"
    assert config["User"] == "1000:100"
    assert config["Labels"] == {
        "team": "census",
        "playhead.run": ORDER.run,
        "playhead.epoch": "2",
        "playhead.custodian": "mine",
    }
    assert (limits["Memory"], limits["MemorySwap"], limits["NanoCpus"]) == (512 << 20, 512 << 20, 1_500_000_000)
    assert limits["DeviceRequests"] == [{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}]
    assert limits["NetworkMode"] == "inner"
    assert [(each["Type"], each["Source"], each["Target"], each["ReadOnly"]) for each in limits["Mounts"]] == [
        ("bind", "/srv/playhead storage", "/srv/playhead storage", False),
        ("bind", "/data", "/in", True),
        ("volume", "cache", "/cache", False),
    ]


def test_all_gpus_and_no_image() -> None:
    made = blueprint(ORDER, DockerRun(gpus="all"), GROUND, "mine")
    assert made.config["HostConfig"]["DeviceRequests"][0]["Count"] == -1
    assert blueprint(ORDER, UniversalRun(), GROUND, "mine").image == "acme/flows:1"
    with pytest.raises(LaunchFailed, match="names no image"):
        blueprint(ORDER, UniversalRun(), Ground(python="3.11", owner=(0, 0)), "mine")


@pytest.mark.parametrize(
    ("server", "network", "seen", "told"),
    [
        ("http://localhost:4317", None, "http://host.docker.internal:4317", ["host.docker.internal:host-gateway"]),
        ("http://127.0.0.1:1", "inner", "http://host.docker.internal:1", ["host.docker.internal:host-gateway"]),
        ("https://[::1]:1", None, "https://host.docker.internal:1", ["host.docker.internal:host-gateway"]),
        ("http://127.0.0.1:1", "host", "http://127.0.0.1:1", []),
        ("https://playhead.example.com", None, "https://playhead.example.com", []),
        ("unix:///run/playhead.sock", None, "unix:///run/playhead.sock", []),
    ],
)
def test_where_a_container_finds_the_server(server: str, network: str | None, seen: str, told: list[str]) -> None:
    made = blueprint(ORDER.model_copy(update={"server": server}), DockerRun(network=network), GROUND, "mine")
    assert made.order.server == seen
    assert made.config["HostConfig"]["ExtraHosts"] == told
    sockets = [each["Source"] for each in made.config["HostConfig"]["Mounts"] if "sock" in each["Source"]]
    assert sockets == (["/run/playhead.sock"] if server.startswith("unix:") else [])


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"image": "acme/etl:3"}, None),
        ({"image": "other/etl:3"}, "its image other/etl:3 is none of acme/*"),
        ({}, None),
        ({"mounts": ("/srv/in/x:/x:ro",)}, None),
        ({"mounts": ("/srv/in:/x",)}, "is not within"),
        ({"mounts": ("/srv/in/../out:/x:ro",)}, "its mount /srv/out:/x:ro is not within"),
        ({"mounts": ("/srv/inner:/x:ro",)}, "is not within"),
        ({"mounts": ("/:/x",)}, "is not within"),
        ({"mounts": ("cache:/x",)}, None),
        ({"mounts": ("other:/x",)}, "is not within"),
        ({"network": "inner"}, None),
        ({"network": "host"}, "its network host is none of inner"),
    ],
)
def test_an_agents_lists_mean_what_they_say(asked: dict[str, Any], why: str | None) -> None:
    lists = DockerAllowed(
        default_image="acme/flows:1", images=["acme/*"], mounts=["/srv/in:ro", "cache"], networks=["inner"]
    )
    said = lists(seal_of(**asked))
    assert said is None if why is None else said is not None and why in said


def test_without_lists_every_image_is_taken_and_no_mount_and_no_network() -> None:
    none = DockerAllowed()
    assert none(seal_of(image="anybody/anything")) is None
    assert "no default image" in str(none(seal_of()))
    assert "this agent allows none" in str(none(seal_of(image="a", mounts=("cache:/x",))))
    assert "this agent allows none" in str(none(seal_of(image="a", network="host")))


def test_a_link_out_of_an_allowed_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "out").symlink_to(tmp_path)
    lists = DockerAllowed(mounts=[str(tmp_path / "allowed")])
    assert lists(seal_of(image="a", mounts=(f"{tmp_path}/allowed:/x",))) is None
    assert "is not within" in str(lists(seal_of(image="a", mounts=(f"{tmp_path}/allowed/out:/x",))))


@pytest.mark.parametrize("text", ["", "/a", "/a:b", "a/b:/c", "/a:/b:rx", "./a:/b"])
def test_what_is_no_mount_is_refused_where_the_flow_is_written(text: str) -> None:
    with pytest.raises(UsageError, match="is no mount"):
        Mount.parse(text)
    with pytest.raises(ValueError, match="is no mount"):
        DockerRun(mounts=(text,))


def test_a_run_config_reads_back_as_it_was_sealed() -> None:
    for config in (DockerRun(image="a:1", mounts=("/a:/b:ro",), gpus="all"), LocalRun(), UniversalRun(labels={"x"})):
        assert parse_run_config(config.model_dump(mode="json")) == config
    with pytest.raises(UsageError, match="fields that do not fit: gpu"):
        parse_run_config({"kind": "docker", "gpu": 1})
    with pytest.raises(UsageError, match="unknown run config 'moon'"):
        parse_run_config({"kind": "moon"})


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ({"Status": "running", "ExitCode": 0}, None),
        ({"Status": "created", "ExitCode": 0}, None),
        ({"Status": "exited", "ExitCode": 0}, Exit(exit_code=0)),
        ({"Status": "exited", "ExitCode": 75}, Exit(exit_code=75)),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, Exit(signal=9, out_of_memory=True)),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": False}, Exit(signal=9)),
        ({"Status": "dead", "ExitCode": 143}, Exit(signal=15)),
        ({"Status": "exited", "ExitCode": 255}, Exit(exit_code=255)),
    ],
)
def test_what_the_engine_says_of_an_end(state: dict[str, Any], end: Exit | None) -> None:
    assert end_of(state) == end


def test_credentials_are_those_of_the_images_registry_and_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    auths = {"registry.example.com:5000": {"auth": "b25l"}, "https://index.docker.io/v1/": {"auth": "dHdv"}}
    file.write_text(json.dumps({"auths": auths}))
    file.chmod(0o600)
    assert credentials_for("registry.example.com:5000/a/b:1", file) == {"auth": "b25l"}
    assert credentials_for("acme/etl:3", file) == {"auth": "dHdv"}
    assert credentials_for("elsewhere.example.com/a", file) is None
    assert credentials_for("acme/etl:3", None) is None
    file.chmod(0o640)
    with pytest.raises(UsageError, match="others may read"):
        credentials_for("acme/etl:3", file)
    with pytest.raises(UsageError, match="cannot be read"):
        credentials_for("acme/etl:3", tmp_path / "nothing")


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("etl", "docker.io"),
        ("acme/etl:3", "docker.io"),
        ("localhost/etl", "localhost"),
        ("r.example.com/a/b@sha256:0", "r.example.com"),
    ],
)
def test_which_registry_an_image_is_of(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_no_right_to_the_socket_is_told_from_an_engine_that_is_not_there() -> None:
    assert "in the group that owns the socket" in hint_for(PermissionError(13, "Permission denied"))
    assert "start the engine" in hint_for(FileNotFoundError(2, "No such file or directory"))
    assert DaemonUnreachable("x").code == "daemon_unreachable"
