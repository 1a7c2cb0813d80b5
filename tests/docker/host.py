"""A machine (`tests.system.machine`) whose agent is a Docker agent of the session's own engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.docker.dockerd import Dockerd
from tests.system.machine import PLAYHEAD, Machine

FLOWS: Final = Path(__file__).with_name("flows.py")


class DockerHost(Machine):
    """`network`: the engine has no bridge, so containers see the server on the host's own network, or not at all."""

    def __init__(self, home: Path, engine: Dockerd, image: str) -> None:
        super().__init__(home)
        self.engine = engine
        self.image = image
        self.env["DOCKER_HOST"] = engine.host

    def docker_agent(
        self,
        *more: str,
        name: str = "docker-agent",
        network: str = "host",
        image: str | None = None,
        server: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """`playhead agent docker`, once it has joined."""
        default = self.image if image is None else image
        process = self.start(
            *PLAYHEAD,
            *("agent", "docker", "--server", server or self.url(), "--name", name, "--network", network),
            *("--env", f"LEDGER={self.ledger}", "--mount", f"{self.home}:{self.home}"),
            *(("--default-image", default) if default else ()),
            *more,
            name=name,
        )
        return self._joined(process, name)

    def local_agent(self, name: str) -> subprocess.Popen[bytes]:
        """`playhead agent local`, once it has joined."""
        return self._joined(
            self.start(*PLAYHEAD, "agent", "local", "--server", self.url(), "--name", name, name=name), name
        )

    def register(self, *flows: str) -> None:
        for flow in flows:
            self.playhead("register", f"{FLOWS}:{flow}")

    def containers(self) -> Mapping[str, str]:
        return self.engine.containers()

    def running(self, run: str) -> str:
        """The name of the run's container, once it runs."""

        def look() -> str | None:
            states = self.containers()
            return next((name for name, state in states.items() if run in name and state == "running"), None)

        return self.wait_for(look, f"a container of {run}")

    def said(self, name: str = "docker-agent") -> str:
        return (self.home / f"{name}.out").read_text()

    def why(self, run: str) -> str:
        """All that `playhead why` tells of the run itself."""
        told = json.loads(self.get(f"/api/runs/{run}/why"))
        return f"{told['because']}; {told['lost']}"

    def types(self, run: str) -> list[str]:
        return [event["type"] for event in self.events(run)]

    def data(self, run: str, type_name: str) -> dict[str, Any]:
        """Of the newest event of that type."""
        found: dict[str, Any] = [event["data"] for event in self.events(run) if event["type"] == type_name][-1]
        return found

    def _joined(self, process: subprocess.Popen[bytes], name: str) -> subprocess.Popen[bytes]:
        def look() -> bool:
            return name in self.playhead("agents", "--json").stdout

        self.wait_for(lambda: look() or process.poll() is not None, f"{name} to join")
        if process.poll() is not None:
            raise AssertionError((self.home / f"{name}.out").read_text())
        return process
