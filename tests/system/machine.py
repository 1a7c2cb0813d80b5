"""Starting and stopping real processes of Playhead: bounded, in a home of their own, ended by their own process ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.stores import chosen_url

T = TypeVar("T")

PLAYHEAD: Final = (sys.executable, "-m", "playhead.cli")
WAIT_SECONDS: Final = 60.0  # for anything that must happen; generous, because two cores do everything
FLOWS: Final = Path(__file__).with_name("flows.py")


class Machine:
    """One home, and the processes that a test starts on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "PLAYHEAD_HOME": str(home), "PYTHONPATH": str(FLOWS.parent), "NO_COLOR": "1"}
        for name in ("PLAYHEAD_SERVER", "PLAYHEAD_TOKEN", "PLAYHEAD_TOKEN_FILE", "COLUMNS", "LINES"):
            self.env.pop(name, None)
        if store := chosen_url():
            self.env["PLAYHEAD_STORE"] = store
        self.started: list[subprocess.Popen[bytes]] = []

    @property
    def ledger(self) -> Path:
        """What tasks did, outside of the engine: one line each time they did it."""
        return self.home / "ledger"

    def done(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def playhead(
        self, *arguments: str, check: bool = True, timeout: float = WAIT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        env = {**self.env, "LEDGER": str(self.ledger)}
        done = subprocess.run(
            [*PLAYHEAD, *arguments], env=env, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"playhead {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done

    def json(self, *arguments: str, check: bool = True) -> Any:
        return json.loads(self.playhead(*arguments, "--json", check=check).stdout)

    def start(
        self, *command: str, name: str = "process", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process that goes on, with `env` beside the machine's own; its output is in `<home>/<name>.out`."""
        env = {**self.env, "LEDGER": str(self.ledger), **(env or {})}
        with (self.home / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.started.append(process)
        return process

    def up(self, port: str = "0", *, under: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """`playhead up`, when it answers. `under`: a command that starts it, such as `strace`."""
        return self._serve("up", port, under)

    def server(
        self, port: str = "0", *more: str, under: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """`playhead server`, when it answers, with `env` beside the machine's own."""
        return self._serve("server", port, under, *more, env=env)

    def agent(self, url: str = "", *, under: Sequence[str] = (), name: str = "agent") -> subprocess.Popen[bytes]:
        """`playhead agent local` at that server, or at this home's; it may take a moment to join."""
        return self.start(*under, *PLAYHEAD, "agent", "local", "--server", url or self.url(), name=name)

    def _serve(
        self, command: str, port: str, under: Sequence[str], *more: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        note = self.home / "server.json"
        note.unlink(missing_ok=True)
        process = self.start(*under, *PLAYHEAD, command, "--port", port, *more, name=command, env=env)
        self.wait_for(lambda: note.exists() or process.poll() is not None, f"playhead {command} to answer")
        if process.poll() is not None:
            raise AssertionError((self.home / f"{command}.out").read_text())
        return process

    def url(self) -> str:
        url: str = json.loads((self.home / "server.json").read_text())["url"]
        return url

    def ask(self, flow: str, **parameters: object) -> str:
        """Ask for a run of a registered flow, and do not wait for it."""
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}={json.dumps(value)}")]
        run: str = self.json("run", flow, "--no-wait", *given)["run_id"]
        return run

    def show(self, run: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.json("show", run)
        return shown

    def view(self, run: str) -> dict[str, Any]:
        """The run as the server tells it: quicker than a command, for watching."""
        seen: dict[str, Any] = json.loads(self.get(f"/api/runs/{run}"))
        return seen

    def ended(self, run: str, within: float = WAIT_SECONDS) -> dict[str, Any]:
        """The run, once it has ended."""

        def look() -> dict[str, Any] | None:
            shown = self.view(run)
            return shown if shown["state"] in ("succeeded", "failed", "cancelled", "crashed") else None

        return self.wait_for(look, f"run {run} to end", within)

    def events(self, run: str) -> list[dict[str, Any]]:
        """The run's history, as the server keeps it."""
        return [json.loads(line) for line in self.get(f"/api/runs/{run}/history").splitlines()]

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url()}{path}", timeout=10) as answer:
            body: bytes = answer.read()
        return body

    def runner(self, run: str) -> int:
        """The process id of the run's living runner."""

        def look() -> int | None:
            for note in self.home.glob(f"agents/*/{run}-*/process.json"):
                pid: int = json.loads(note.read_text())["pid"]
                if Path(f"/proc/{pid}").exists():
                    return pid
            return None

        return self.wait_for(look, f"a runner of {run}")

    def wait_for(self, look: Callable[[], T | None], what: str, within: float = WAIT_SECONDS) -> T:
        end = time.monotonic() + within
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(
            f"waited {within:.0f} s for {what}; the home holds {sorted(p.name for p in self.home.iterdir())}"
        )

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(WAIT_SECONDS)

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """As Ctrl-C would."""
        process.send_signal(signal.SIGINT)
        return process.wait(WAIT_SECONDS)

    def close(self) -> None:
        """Nothing of it is left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for note in self.home.glob("agents/*/*/process.json"):
            try:
                os.killpg(json.loads(note.read_text())["pid"], signal.SIGKILL)
            except (ProcessLookupError, PermissionError, ValueError, KeyError):
                continue


@contextmanager
def machine(home: Path) -> Generator[Machine]:
    """A machine; at the end nothing of it is left running."""
    host = Machine(home)
    with ended(host):
        yield host


@contextmanager
def ended(host: Machine) -> Generator[None]:
    """At the end nothing of the machine is left running."""
    try:
        yield
    finally:
        host.close()
