"""The options that many commands share, with their help. Names only: Typer reads them, the actions use their values."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs; errors too, on stderr.")]
HomeDir = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of log, storage and key. (env: PLAYHEAD_HOME) (default: ~/.playhead)"),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server", help="URL of the server. (env: PLAYHEAD_SERVER) (default: the one that runs on this home)"
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", help="File with the token for the server, before the command's name. (env: PLAYHEAD_TOKEN_FILE)"
    ),
]
RequireTokens = Annotated[
    bool,
    typer.Option(
        "--require-tokens",
        help="Ask for tokens although only this machine can connect, as where a proxy does. (env: PLAYHEAD_REQUIRE_TOKENS)",
    ),
]
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id or its beginning, @last, @last-failed, or FLOW@last.")
]
Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A registered flow's name, FILE.py:FLOW, FILE.py, or module:FLOW.")
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is every one of this machine.")]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host",
        help="A name of this server that others ask for; again for several. (env: PLAYHEAD_ALLOWED_HOSTS)",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where the log is, such as postgresql://user@host/database. A password has no place here. (env: PLAYHEAD_STORE)",
    ),
]
Labels = Annotated[list[str] | None, typer.Option("--label", help="A label of the agent; give it again for several.")]
Encrypt = Annotated[bool, typer.Option("--encrypt", help="Encrypt what is written to storage. (env: PLAYHEAD_ENCRYPT)")]
AllowFlow = Annotated[
    list[str] | None,
    typer.Option("--allow-flow", metavar="NAME", help="Take only these flows; * and ? stand for others."),
]
AllowModule = Annotated[
    list[str] | None,
    typer.Option("--allow-module", metavar="NAME", help="Take only code of these modules; * and ? stand for others."),
]
AgentName = Annotated[
    str | None, typer.Option("--name", help="The agent's name. (default: its last one, or random words)")
]
Once = Annotated[
    bool,
    typer.Option(
        "--once", help="Take what is ready, and end when nothing is left; the exit code says how the runs ended."
    ),
]
Capacity = Annotated[int | None, typer.Option("--capacity", min=1, help="Runs at a time. (default: one for each CPU)")]
AgentSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting that agents of this kind have; again for several."),
]
DockerHost = Annotated[
    str | None,
    typer.Option("--docker-host", metavar="URL", help="The Docker engine. (default: DOCKER_HOST, or this machine's)"),
]
DefaultImage = Annotated[
    str | None,
    typer.Option("--default-image", metavar="IMAGE", help="For flows that name no image; else they are not taken."),
]
RegistryCredentials = Annotated[
    Path | None, typer.Option("--registry-credentials", metavar="FILE", help="As `docker login` writes it, mode 0600.")
]
AllowImage = Annotated[
    list[str] | None,
    typer.Option("--allow-image", metavar="IMAGE", help="Take only flows with these images; * and ? stand for others."),
]
AllowMount = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-mount",
        metavar="SOURCE",
        help="Take flows that mount what is in this folder, or this volume; :ro to read.",
    ),
]
AllowNetwork = Annotated[
    list[str] | None, typer.Option("--allow-network", metavar="NAME", help="Take flows that ask for this network.")
]
Network = Annotated[
    str | None, typer.Option("--network", metavar="NAME", help="The network of flows that ask for none.")
]
Mounts = Annotated[
    list[str] | None, typer.Option("--mount", metavar="SOURCE:TARGET[:ro]", help="Mounted into every container.")
]
ContainerEnv = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="NAME[=VALUE]", help="In every container's environment; without a value, this one's."
    ),
]
RunnerServer = Annotated[
    str | None,
    typer.Option("--runner-server", metavar="URL", help="Where containers find the server, if elsewhere than here."),
]
ImagePython = Annotated[
    str | None,
    typer.Option("--python", metavar="3.N", help="Python's version in the images. (default: the agent's own)"),
]
KeepContainers = Annotated[
    bool, typer.Option("--keep-containers", help="Leave containers there when they have ended, for you to look at.")
]


class Pull(StrEnum):
    """When an image is fetched, where a flow does not say."""

    ALWAYS = "always"
    MISSING = "missing"
    NEVER = "never"


PullWhen = Annotated[Pull, typer.Option("--pull", help="When an image is fetched, where a flow does not say.")]


class Scope(StrEnum):
    """What a token is for. A runner's is no one's to make: its agent does."""

    VIEWER = "viewer"
    CLIENT = "client"
    AGENT = "agent"
    ADMIN = "admin"


class SealedBy(StrEnum):
    """How a flow's code goes into storage."""

    MODULE = "module"
    FILE = "file"
    VALUE = "value"


AllowCode = Annotated[
    list[SealedBy] | None, typer.Option("--allow-code", help="Take only code that was sealed in this way.")
]
