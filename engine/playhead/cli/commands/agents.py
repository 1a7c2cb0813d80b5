"""`playhead agent KIND`: the kinds that have options of their own, and those that other packages bring. Owns how the latter are found."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from playhead.cli import options


class Kinds(TyperGroup):
    """Its commands, and one for each other kind that is installed. What is installed is looked at when it must be.

    Typer has moved the classes of contexts and commands between packages: here they have no names.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        from playhead.agent.kinds import KINDS

        own = super().list_commands(ctx)
        return [*own, *(kind for kind in KINDS.names() if kind not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """UsageError: no such kind is installed; it says which are."""
        return super().get_command(ctx, cmd_name) or _command(cmd_name)


def _command(kind: str) -> Any:
    from playhead.agent.kinds import KINDS

    if kind not in KINDS.names():
        raise KINDS.unknown(kind)

    def serve(
        name: options.AgentName = None,
        labels: options.Labels = None,
        capacity: options.Capacity = None,
        given: options.AgentSettings = None,
        allow_flow: options.AllowFlow = None,
        allow_code: options.AllowCode = None,
        allow_module: options.AllowModule = None,
        once: options.Once = False,
        server: options.Server = None,
        home: options.HomeDir = None,
        json: options.Json = False,
    ) -> int:
        from playhead.cli.actions.serve import AgentWanted, allowed, serve_agent, settings_of

        agent = AgentWanted(
            name=name,
            labels=tuple(labels or ()),
            capacity=capacity,
            allowed=allowed(allow_flow, allow_code, allow_module),
            kind=kind,
            settings=settings_of(given or ()),
        )
        return serve_agent(agent, home=home, server=server, once=once, as_json=json)

    alone = typer.Typer(add_completion=False)
    alone.command(kind, help=f"Run flows on {kind}, as a package that is installed here does, until Ctrl-C.")(serve)
    return typer.main.get_command(alone)
