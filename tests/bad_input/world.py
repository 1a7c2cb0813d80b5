"""A home in which a run has ended and was acknowledged, a command line to do wrong with, and the proof that nothing was lost."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playhead.cli.app import run
from playhead.client.client import Client
from playhead.client.logs import read_logs
from playhead.core.views import RunView
from playhead.home import Home
from playhead.hosting import connect
from playhead.ports.store import Recorded
from playhead.settings import Settings

FLOWS: Final = Path(__file__).with_name("wrong_flows.py")
RESULT: Final = [0, 2, 4]  # of the earlier run


@dataclass(frozen=True)
class Answer:
    """What a command printed, and the code that it exited with."""

    code: int
    out: str
    err: str

    def refuses(self, code: int, *said: str) -> None:
        """Assert that it ended with this code and an error that says all of this, and how to go on."""
        assert self.code == code, f"exit code {self.code}, not {code}: {self.err or self.out}"
        error = json.loads(self.err.splitlines()[-1])["error"]
        assert error.keys() == {"code", "message", "hint"}
        told = f"{error['message']}\n{error['hint'] or ''}"
        for words in said:
            assert words in told, f"{words!r} is not in what it says: {told}"
        assert "Traceback" not in self.err
        assert "defect" not in told


@dataclass(frozen=True)
class Earlier:
    """All that can be read of a run that was acknowledged before the wrong thing was done."""

    view: RunView
    history: tuple[Recorded, ...]
    logged: tuple[str, ...]
    result: object


class Desk:
    """A user at a command line, in one home, with one earlier run in it."""

    def __init__(self, home: Path, earlier: Earlier) -> None:
        self.home = home
        self.earlier = earlier

    def playhead(self, *arguments: object) -> Answer:
        """One command on this home, its errors as JSON."""
        return call(*arguments, "--home", self.home, "--json")

    def flow(self, name: str) -> str:
        return f"{FLOWS}:{name}"

    def check_nothing_lost(self) -> None:
        """The earlier run reads back whole: its facts, its events, its log lines and its result."""
        assert asyncio.run(read_back(self.home, self.earlier.view.run_id)) == self.earlier


async def read_back(folder: Path, run_id: str) -> Earlier:
    """What the home holds of the run."""
    home = Home.open(Settings.load({"home": folder}))
    async with connect(home) as api:
        client = Client(api, home=home)
        view = await client.run(run_id)
        history = tuple([recorded async for recorded in client.history(run_id)])
        logged = tuple(line.message for line in read_logs(view, history, home))
        return Earlier(view, history, logged, await client.flow_run(run_id).result())


def new_desk(home: Path) -> Desk:
    """A home in which `good` has run."""
    answer = call("run", f"{FLOWS}:good", "--home", home, "--json")
    assert answer.code == 0, answer.err
    earlier = asyncio.run(read_back(home, json.loads(answer.out)["run_id"]))
    assert (earlier.result, len(earlier.logged), len(earlier.view.tasks)) == (RESULT, 3, 3)
    return Desk(home, earlier)


def copied_desk(desk: Desk, home: Path) -> Desk:
    """The same home elsewhere, as a backup that was put back."""
    shutil.copytree(desk.home, home)
    return Desk(home, desk.earlier)


def call(*arguments: object) -> Answer:
    """The program, called in this process with arguments as a shell would give them."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Answer(int(code), out.getvalue(), err.getvalue())
