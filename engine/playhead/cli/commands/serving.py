"""Commands that go on until they are told to end: up, server, agent local, agent docker; and agent drain, which tells one."""

from __future__ import annotations

from typing import Annotated

import typer

from playhead.cli import options
from playhead.cli.commands.agents import Kinds

LOOPBACK = "127.0.0.1"


def add_to(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(server)
    agent = typer.Typer(
        cls=Kinds, help="Run an agent: the custodian of runs on one kind of infrastructure.", no_args_is_help=True
    )
    agent.command()(local)
    agent.command()(docker)
    agent.command()(drain)
    app.add_typer(agent, name="agent")


def up(
    host: options.Host = LOOPBACK,
    port: options.Port = None,
    allowed_hosts: options.AllowedHosts = None,
    require_tokens: options.RequireTokens = False,
    store: options.Store = None,
    labels: options.Labels = None,
    capacity: options.Capacity = None,
    allow_flow: options.AllowFlow = None,
    allow_code: options.AllowCode = None,
    allow_module: options.AllowModule = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Run server and local agent in one process on this home, until Ctrl-C."""
    from playhead.cli.actions.serve import Address, AgentWanted, allowed, serve_home

    agent = AgentWanted(
        labels=tuple(labels or ()), capacity=capacity, allowed=allowed(allow_flow, allow_code, allow_module)
    )
    address = Address(host, port, tuple(allowed_hosts or ()), require_tokens)
    return serve_home(address, agent, home=home, store=store, as_json=json)


def server(
    host: options.Host = LOOPBACK,
    port: options.Port = None,
    allowed_hosts: options.AllowedHosts = None,
    require_tokens: options.RequireTokens = False,
    store: options.Store = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Run a server alone on this home, until Ctrl-C. It sees facts only, never code or data."""
    from playhead.cli.actions.serve import Address, serve_home

    address = Address(host, port, tuple(allowed_hosts or ()), require_tokens)
    return serve_home(address, None, home=home, store=store, as_json=json)


def local(
    name: options.AgentName = None,
    labels: options.Labels = None,
    capacity: options.Capacity = None,
    once: options.Once = False,
    allow_flow: options.AllowFlow = None,
    allow_code: options.AllowCode = None,
    allow_module: options.AllowModule = None,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Run flows as processes on this machine, until Ctrl-C; runs at work then go on, and the next agent takes them over."""
    from playhead.cli.actions.serve import AgentWanted, allowed, serve_agent

    agent = AgentWanted(
        name=name,
        labels=tuple(labels or ()),
        capacity=capacity,
        allowed=allowed(allow_flow, allow_code, allow_module),
    )
    return serve_agent(agent, once=once, home=home, server=server, as_json=json)


def docker(
    name: options.AgentName = None,
    labels: options.Labels = None,
    capacity: options.Capacity = None,
    once: options.Once = False,
    default_image: options.DefaultImage = None,
    pull: options.PullWhen = options.Pull.MISSING,
    registry_credentials: options.RegistryCredentials = None,
    network: options.Network = None,
    mount: options.Mounts = None,
    env: options.ContainerEnv = None,
    python: options.ImagePython = None,
    runner_server: options.RunnerServer = None,
    keep_containers: options.KeepContainers = False,
    docker_host: options.DockerHost = None,
    allow_image: options.AllowImage = None,
    allow_mount: options.AllowMount = None,
    allow_network: options.AllowNetwork = None,
    allow_flow: options.AllowFlow = None,
    allow_code: options.AllowCode = None,
    allow_module: options.AllowModule = None,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Run flows as containers of a Docker engine, until Ctrl-C; runs at work then go on, and the next agent takes them over."""
    from playhead.cli.actions.serve import AgentWanted, allowed, environment_of, serve_agent

    agent = AgentWanted(
        name=name,
        labels=tuple(labels or ()),
        capacity=capacity,
        allowed=allowed(allow_flow, allow_code, allow_module),
        kind="docker",
        settings={
            "default_image": default_image,
            "pull": pull.value,
            "registry_credentials": registry_credentials,
            "network": network,
            "mounts": tuple(mount or ()),
            "env": environment_of(env or ()),
            "python": python,
            "runner_server": runner_server,
            "auto_remove": not keep_containers,
            "docker_host": docker_host,
            "allow_images": tuple(allow_image or ()),
            "allow_mounts": tuple(allow_mount or ()),
            "allow_networks": tuple(allow_network or ()),
        },
    )
    return serve_agent(agent, once=once, home=home, server=server, as_json=json)


def drain(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Its name, as `playhead agents` lists it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has ended.")] = False,
    server: options.Server = None,
    home: options.HomeDir = None,
    json: options.Json = False,
) -> int:
    """Have an agent take no more runs, and end when those that it has have ended. Started again, it takes runs as before."""
    from playhead.cli.actions.agents import drain_agent

    return drain_agent(agent, wait=wait, home=home, server=server, as_json=json)
