"""A Docker engine of a test session's own: data root, exec root, socket and pid file in a temporary folder. Owns its one process, dockerd.

It opens no port, makes no bridge of its own and no rule of the machine's firewall. With live restore, which it has unless a test says
otherwise, its containers outlive it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
GATEWAY: Final = "10.213.7.1"  # of the one network that tests make: the host, as containers there see it
SUBNET: Final = "10.213.7.0/24"


class Dockerd:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{folder / 'sock'}"
        self.start()

    @property
    def socket(self) -> Path:
        return self._folder / "sock"

    def start(self, *, live_restore: bool = True) -> None:
        """Start it, and return when it answers. `live_restore`: whether its containers will outlive it."""
        assert self._process is None, "it runs"
        settings = {"live-restore": live_restore}  # of its own, not the machine's
        (self._folder / "daemon.json").write_text(json.dumps(settings))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    *("--config-file", str(self._folder / "daemon.json"), "--pidfile", str(self._folder / "pid")),
                    *("--data-root", str(self._folder / "data"), "--exec-root", str(self._folder / "exec")),
                    *("--host", self.host, "--bridge=none", "--iptables=false", "--ip6tables=false"),
                    *("--host-gateway-ip", GATEWAY),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._until(lambda: self._answers() or self._process_ended())
        if self._process_ended():
            self._process = None
            raise LookupError(f"dockerd does not start here: {self._last_words()}")

    @property
    def runs(self) -> bool:
        return self._process is not None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._process = None

    def docker(self, *arguments: str, seconds: float = 300.0, data: Path | None = None) -> str:
        """The `docker` command; what it prints."""
        with (data or Path(os.devnull)).open("rb") as given:
            done = subprocess.run(
                ["docker", "--host", self.host, *arguments],
                stdin=given,
                capture_output=True,
                text=True,
                timeout=seconds,
                env={**os.environ, "DOCKER_BUILDKIT": "0"},
                check=False,
            )
        if done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def inspect(self, name: str) -> Any:
        return json.loads(self.docker("inspect", name))[0]

    def containers(self, **labels: str) -> Mapping[str, str]:
        """Names and states of all containers with these labels."""
        wanted = [part for name, value in labels.items() for part in ("--filter", f"label={name}={value}")]
        listed = self.docker("ps", "--all", "--format", "{{.Names}} {{.State}}", *wanted)
        return dict(line.split(" ", 1) for line in listed.splitlines())

    def close(self) -> None:
        """End all containers, then itself, and leave nothing mounted."""
        if self._process is None:
            self.start()
        names = list(self.containers())
        if names:
            self.docker("rm", "--force", *names)
        for network in self.docker("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").splitlines():
            self.docker("network", "rm", network)
        self.stop()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (place := line.split(" ")[1]).startswith(f"{self._folder}/"):
                subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(1)
            try:
                asking.connect(str(self.socket))
                asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in asking.recv(64)
            except OSError:
                return False

    def _process_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _until(self, holds: Any) -> None:
        end = time.monotonic() + START_SECONDS
        while not holds():
            if time.monotonic() > end:
                self.stop(signal.SIGKILL)
                raise LookupError(f"dockerd does not answer within {START_SECONDS:g} s: {self._last_words()}")
            time.sleep(0.05)

    def log(self) -> str:
        """All that it said."""
        return (self._folder / "log").read_text("utf-8", "replace")

    def _last_words(self) -> str:
        return self.log()[-1500:]


@contextmanager
def running_dockerd() -> Generator[Dockerd]:
    """LookupError: there can be none here, and why."""
    if os.getuid() != 0:
        raise LookupError("a Docker engine of the tests' own needs root")
    for program in ("dockerd", "docker"):
        if shutil.which(program) is None:
            raise LookupError(f"{program} is not installed: apt-get install docker.io")
    folder = Path(mkdtemp(prefix="phd-"))  # short: a socket's path is bounded
    try:
        engine = Dockerd(folder)
    except LookupError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        yield engine
    finally:
        engine.close()
