"""Every command of the README, the tutorial and the how-tos is run as it stands there, and prints what the page says."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from socket import create_connection, socket

import pytest

from playhead.server.serve import DEFAULT_PORT
from tests.docs.pages import DOCS, Command, all_pages, commands, files
from tests.rooms import ROOT
from tests.system.machine import WAIT_SECONDS, Machine, machine

pytestmark = pytest.mark.real

DEFAULT_ADDRESS = f"http://127.0.0.1:{DEFAULT_PORT}"  # what pages say; here the port is a free one
SCHEDULER_PORT = "8786"  # Dask's own; here another one
PAGES = [page for page in all_pages() if commands(page)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    home = tmp_path / "home"
    home.mkdir()
    with machine(home) as started:
        started.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        started.env["COLUMNS"] = "200"
        del started.env["PYTHONPATH"]
        redirect_pip(started, tmp_path)
        yield started


def test_the_pages_that_have_commands_are_these() -> None:
    assert {page.relative_to(ROOT).as_posix() for page in PAGES} >= {"README.md", "docs/tutorial.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.timeout(300)
def test_the_commands_of_a_page_do_what_it_says(page: Path, host: Machine, tmp_path: Path) -> None:
    port = str(free_port())
    for name, text in files(page).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace(SCHEDULER_PORT, port), encoding="utf-8")
    (tmp_path / "docs").symlink_to(DOCS)
    for written in commands(page):
        command = replace(written, line=written.line.replace(SCHEDULER_PORT, port))
        words = shlex.split(command.line, comments=True)
        if words[:1] == ["."] or words[:1] == ["make"]:
            continue  # the environment is active here, and `make` has lanes of its own
        if words[-1:] == ["&"]:
            in_background(words[:-1], host)
        elif words[:1] == ["export"]:
            export(command.line, host, tmp_path)
        elif words == ["kill", "-9", "%1"]:
            host.kill(host.started.pop())
        else:
            run(command, host, tmp_path)


def run(command: Command, host: Machine, folder: Path) -> None:
    line = command.line.replace(DEFAULT_ADDRESS, host.url()) if DEFAULT_ADDRESS in command.line else command.line
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=host.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
        timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    told = f"$ {command.line}\n{done.stdout}"
    assert done.returncode == command.code, told
    missing = command.missing_from(done.stdout)
    assert missing is None, f"no line {missing!r}:\n{told}"


def export(line: str, host: Machine, folder: Path) -> None:
    """From here on it is in the environment, as the shell sees it."""
    name = line.split()[1].partition("=")[0]
    host.env[name] = subprocess.check_output(
        ["/bin/sh", "-c", f'{line}; printf %s "${name}"'], cwd=folder, env=host.env, text=True, timeout=WAIT_SECONDS
    )


def redirect_pip(host: Machine, folder: Path) -> None:
    """`pip install` puts a package into the test's own folder, and takes what it builds with, and depends on, from what is here:
    so that it changes nobody's environment, and needs no network."""
    site, pip = folder / "site", folder / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@" --target "{site}" --no-index --no-deps --no-build-isolation '
        "--disable-pip-version-check\n"
    )
    pip.chmod(0o755)
    host.env["PATH"] = f"{pip.parent}{os.pathsep}{host.env['PATH']}"
    host.env["PYTHONPATH"] = str(site)


def in_background(words: list[str], host: Machine) -> None:
    """`playhead up`, on a free port; an agent, for whose runs a later command waits; or a part of a Dask cluster."""
    if words == ["playhead", "up"]:
        host.up()
        return
    assert words[:2] in (["playhead", "agent"], ["dask", "scheduler"], ["dask", "worker"]), (
        "only these go on in the background"
    )
    host.start(*words, name=words[1])
    if words[1] == "scheduler":
        port = int(words[words.index("--port") + 1])
        host.wait_for(lambda: listens(port), "the scheduler to answer")


def listens(port: int) -> bool:
    with suppress(OSError), create_connection(("127.0.0.1", port), 5):
        return True
    return False


def free_port() -> int:
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
