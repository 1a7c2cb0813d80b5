"""From an order and a sealed run config to the container that the engine is asked for. Pure: reads and asks nothing.

What is said here can be read by everybody who may ask the engine: so no secret, no environment of a flow's or an agent's, and nothing of
the order but run and epoch. The rest goes in by file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from playhead.errors import LaunchFailed
from playhead.flows.mounts import Mount
from playhead.flows.run_config import DockerRun, PullPolicy, RunConfig
from playhead.runner.bootstrap import RunnerOrder
from playhead_adapters.infrastructure.docker import boot

HOST_ALIAS: Final = "host.docker.internal"  # the container's name for its host
CUSTODIAN, RUN, EPOCH = "playhead.custodian", "playhead.run", "playhead.epoch"

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]", "::1")
_MB: Final = 1024 * 1024
_OUTPUT: Final = {"Type": "json-file", "Config": {"max-size": "16m", "max-file": "1"}}  # what a container may write


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every container of an agent has, whatever its flow asks for. `owner`: user and group id of its processes."""

    default_image: str | None = None
    pull: PullPolicy = "missing"
    network: str | None = None  # None: the engine's own choice
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    python: str
    owner: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A container to be: its name, what the engine is asked for, and the order that goes into it."""

    name: str
    image: str
    pull: PullPolicy
    config: Mapping[str, Any]
    order: RunnerOrder


def blueprint(order: RunnerOrder, sealed: RunConfig, ground: Ground, custodian: str) -> Blueprint:
    """LaunchFailed: there is no image to make it of."""
    asked = sealed if isinstance(sealed, DockerRun) else DockerRun()
    image = asked.image or ground.default_image
    if image is None:
        raise LaunchFailed(f"run {order.run} names no image", hint="start the agent with --default-image")
    network = asked.network or ground.network
    server, extra = _reachable(order.server, network)
    mounts = (*_needed(order), *ground.mounts, *(Mount.parse(text) for text in asked.mounts))
    config: dict[str, Any] = {
        "Image": image,
        "Entrypoint": list(boot.command(asked.python, ground.python)),
        "Cmd": [],
        "Env": ["PYTHONHASHSEED=0", f"PLAYHEAD_RUNNER={order.run}-{order.epoch}", "HOME=/tmp"],
        "User": ":".join(map(str, ground.owner)),
        "Labels": {**asked.container_labels, CUSTODIAN: custodian, RUN: order.run, EPOCH: str(order.epoch)},
        "HostConfig": {
            "Mounts": [_mount(mount) for mount in mounts],
            "LogConfig": _OUTPUT,
            "ExtraHosts": extra,
            **_bounds(asked),
            **({"NetworkMode": network} if network else {}),
        },
    }
    if asked.working_dir is not None:
        config["WorkingDir"] = asked.working_dir
    env = {**ground.env, **order.env}
    return Blueprint(
        name=container_name(order.run, order.epoch),
        image=image,
        pull=asked.pull or ground.pull,
        config=config,
        order=order.model_copy(update={"server": server, "env": env}),
    )


def container_name(run: str, epoch: int) -> str:
    """One (run, epoch) is launched by one container, because the engine knows one of a name."""
    return f"playhead-{run}-{epoch}"


def _reachable(server: str, network: str | None) -> tuple[str, list[str]]:
    """The server's URL as the container sees it, and the hosts that it must be told. This machine's loopback is another one there."""
    parts = urlsplit(server)
    if network == "host" or parts.scheme == "unix" or parts.hostname not in _LOOPBACK:
        return server, []
    at = f"{HOST_ALIAS}:{parts.port}" if parts.port else HOST_ALIAS
    return urlunsplit(parts._replace(netloc=at)), [f"{HOST_ALIAS}:host-gateway"]


def _needed(order: RunnerOrder) -> list[Mount]:
    """The storage, and the server's socket if it has one: under the paths that they have on the host."""
    paths = [_path_of(url) for url in (order.storage_url, order.server) if urlsplit(url).scheme in ("file", "unix")]
    return [Mount(path, path) for path in paths]


def _path_of(url: str) -> str:
    return unquote(urlsplit(url).path)


def _mount(mount: Mount) -> Mapping[str, Any]:
    kind = "volume" if mount.is_volume else "bind"
    return {"Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _bounds(asked: DockerRun) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    if asked.memory_mb is not None:
        bounds |= {"Memory": asked.memory_mb * _MB, "MemorySwap": asked.memory_mb * _MB}  # swapping is no memory
    if asked.cpus is not None:
        bounds["NanoCpus"] = round(asked.cpus * 1e9)
    if asked.gpus is not None:
        count = -1 if asked.gpus == "all" else asked.gpus
        bounds["DeviceRequests"] = [{"Driver": "", "Count": count, "Capabilities": [["gpu"]]}]
    return bounds
