"""S9, with real processes: no marked word, in no disguise, is anywhere where a server could have learned it.

A flow that does what flows can do runs on every executor, in each way that a run can be run. Then everything of the server is read: its
files, each byte that it was sent or answered, its output at the lowest level, its memory, what the system shows of its process, and every
answer of its API and of the commands on its home. The same words must be in the user's own storage, and in what the user's own commands
show: else the canary would prove nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from playhead.cli.app import run as playhead
from tests.canary import places
from tests.canary.places import asked
from tests.canary.recorder import Recording, recorded, recorded_socket
from tests.canary.words import GIVEN, MARK, UNFIT, find_mark
from tests.canary.world import EXECUTORS, User, headers_of, server_at_debug, told_in, told_in_memory, variable
from tests.system.machine import Machine, ended, machine

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

READING = (("runs",), ("flows",), ("agents",), ("events", "--all"), ("doctor",))
READING_A_RUN = (("show",), ("show", "--steps"), ("show", "--failures"), ("events",), ("replay",), ("logs",))
SERVERS_FILES = ("log.db", "log.db-wal", "log.db-shm", "views.db", "views.db-wal", "views.db-shm")

HEADERS = {
    "host", "accept", "accept-encoding", "authorization", "content-type", "content-length", "user-agent",
    "last-event-id",
}  # fmt: skip

Command = Callable[..., bytes]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    home = tmp_path / "user"
    home.mkdir()
    made = User(home)
    with ended(made):
        yield made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Machine]:
    """The server's own home."""
    home = tmp_path / "server"
    home.mkdir()
    with machine(home) as made:
        yield made


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """A command in this process: all that it prints."""

    def called(*arguments: str) -> bytes:
        capsys.readouterr()
        playhead(list(arguments))
        printed = capsys.readouterr()
        return f"{printed.out}\n{printed.err}".encode()

    return called


def test_a_server_elsewhere_learns_nothing(user: User, elsewhere: Machine, command: Command) -> None:
    with _watched(user, elsewhere, by_fork=True) as url:
        _run_on_every_executor(user)
        _run_to_bad_ends(user)
        _run_in_other_ways(user, elsewhere.url())
        _check_that_the_user_sees_it(user, command, url)
        _check_answers(elsewhere, command)


def test_nor_does_it_from_runners_that_are_started_plainly(user: User, elsewhere: Machine, command: Command) -> None:
    with _watched(user, elsewhere, by_fork=False):
        _run_on_every_executor(user)
        _check_api(elsewhere.url(), command, elsewhere.home)


@contextmanager
def _watched(user: User, elsewhere: Machine, *, by_fork: bool) -> Generator[str]:
    """A server and an agent of the user's; at the end all that the server was sent, has and shows is searched. Gives its URL."""
    server = server_at_debug(elsewhere)
    with recorded(elsewhere.url()) as (url, recording):
        user.env["PLAYHEAD_SERVER"] = url
        user.start_agent(url, by_fork=by_fork)
        yield url
        _check_recording(recording)
    assert told_in_memory(server.pid) == []
    assert told_in(places.process(server.pid)) == []
    assert told_in(places.files_in(elsewhere.home)) == []


def test_who_owns_the_log_of_a_home_learns_nothing_from_programs_that_join(user: User, command: Command) -> None:
    """Embedded runs over the home's unix socket; the log's owner is a server without an agent."""
    with machine(user.home) as owner:
        server = server_at_debug(owner)
        with recorded_socket(user.home / "playhead.sock") as recording:
            _run_on_every_executor(user, "--embedded")
            failed = user.playhead("run", user.flow("fails"), *user.given("fails"), "--embedded", check=False)
            assert failed.returncode == 1
            _check_recording(recording)
        assert told_in_memory(server.pid) == []
        assert told_in(_of_the_server(user.home)) == []
        assert told_in([("server.out", (user.home / "server.out").read_bytes())]) == []
        _check_api(owner.url(), command, user.home)


def test_the_log_of_a_program_that_runs_alone_holds_nothing(user: User) -> None:
    _run_on_every_executor(user, "--embedded")
    assert user.playhead("run", user.flow("fails"), *user.given("fails"), "--embedded", check=False).returncode == 1
    assert told_in(_of_the_server(user.home)) == []
    assert list(find_mark(_kept_by(user)))


def test_a_server_with_its_agent_in_one_process_shows_nothing(user: User, command: Command) -> None:
    """`playhead up` is a process of the user's, with their environment and keys; its log, answers and output are a server's still."""
    up = user.up()
    _run_on_every_executor(user)
    _run_to_bad_ends(user)
    _check_api(user.url(), command, user.home)
    user.end(up)
    assert told_in(_of_the_server(user.home)) == []
    assert told_in([("up.out", (user.home / "up.out").read_bytes())]) == []
    assert list(find_mark(_kept_by(user)))


# --- what is run --------------------------------------------------------------------------------------------------------------


def _run_on_every_executor(user: User, *options: str) -> None:
    for flow in EXECUTORS:
        shown = user.playhead("run", user.flow(flow), *user.given(flow), *options).stdout
        assert all(f"{MARK}_{word}" in shown for word in ("result", "large_result", "inner_default", "caught"))


def _run_to_bad_ends(user: User) -> None:
    """Failed; lost until its budget was spent; refused before it was asked for."""
    assert user.playhead("run", user.flow("fails"), *user.given("fails"), check=False).returncode == 1
    assert user.playhead("run", user.flow("exits"), *user.given("exits"), check=False).returncode == 4
    refused = user.playhead(
        "run", user.flow("on-threads"), *user.given("on-threads"), "-p", f"number={UNFIT}", check=False
    )
    assert refused.returncode == 2
    assert UNFIT in refused.stderr, "the user's own command says what does not fit"


def _run_in_other_ways(user: User, url: str) -> None:
    """Sealed by value and cancelled; sealed by module and async; module gone; on a schedule."""
    user.playhead("register", user.flow("rests"), "--by", "value")
    run = user.json("run", "rests", "--no-wait", *user.given("rests"))["run_id"]
    user.wait_for(lambda: asked(url, f"/runs/{run}")["state"] == "running", "the run to begin")
    user.playhead("cancel", run)
    user.wait_for(lambda: asked(url, f"/runs/{run}")["state"] == "cancelled", "the run's end")
    user.playhead("register", f"{user.file.stem}:{variable('at-once')}", "--by", "module")
    assert GIVEN in str(user.json("run", "at-once", *user.given("at-once"))["result"])
    user.file.rename(user.file.with_suffix(".away"))
    gone = user.playhead("run", "at-once", *user.given("at-once"), check=False)
    assert gone.returncode != 0
    user.file.with_suffix(".away").rename(user.file)
    user.playhead("register", user.flow("ticks"))
    user.wait_for(lambda: asked(url, "/runs?flow=ticks&state=succeeded")["runs"], "a scheduled run")


# --- what is searched -----------------------------------------------------------------------------------------------------------


def _check_that_the_user_sees_it(user: User, command: Command, url: str) -> None:
    """What shows values on the user's side has them, and can only have them from storage: they are not on the wire."""
    kept = _kept_by(user)
    assert all(
        f"{MARK}_{word}".encode() in kept for word in ("large_result", "scheduled_default", "sealed_environment")
    )
    where = ("--home", str(user.home), "--server", url)
    failures = command("show", "fails@last", "--failures", *where)
    assert all(f"{MARK}_{word}".encode() in failures for word in ("message", "note", "cause", "group", "member"))
    logs = command("logs", "on-threads@last", *where)
    assert all(f"{MARK}_{word}".encode() in logs for word in ("print", "line", "stdlib"))
    for flow in (*EXECUTORS, "fails", "exits", "rests", "at-once"):
        for name, *options in READING_A_RUN:
            command(name, f"{flow}@last", *options, *where)
    for each in READING:
        command(*each, *where)


def _check_recording(recording: Recording) -> None:
    asked, answered = b"".join(recording.bytes_of("asked")), b"".join(recording.bytes_of("answered"))
    assert b"run.succeeded" in asked
    assert b"HTTP/1.1 200" in answered
    assert told_in([("asked", asked), ("answered", answered)]) == []
    headers = headers_of(asked)
    assert set(headers) <= HEADERS
    assert headers["user-agent"] == {"playhead"}
    tokens = headers.get("authorization", set())
    assert all(re.fullmatch(r"Bearer playhead_runner_[0-9a-f]{32}_[a-z2-7]{56}", token) for token in tokens), tokens


def _check_answers(elsewhere: Machine, command: Command) -> None:
    """All of the API; and each command that reads, on the server's home: it has neither key nor storage of the user's."""
    _check_api(elsewhere.url(), command, elsewhere.home)
    for name, *options in READING:
        told = command(name, *options, "--json", "--home", str(elsewhere.home))
        assert told_in([(f"the answer of {name}", told)]) == []
    for flow in (*EXECUTORS, "fails", "exits", "rests", "at-once"):
        for name, *options in READING_A_RUN:
            for form in ((), ("--json",)):
                told = command(name, f"{flow}@last", *options, *form, "--home", str(elsewhere.home))
                assert told_in([(f"the answer of {name} for {flow}", told)]) == []


def _check_api(url: str, command: Command, home: Path) -> None:
    listed = json.loads(command("runs", "--json", "--home", str(home)))
    newest = {run["flow"]: run["run_id"] for run in reversed(listed)}
    assert newest
    flows = [flow["flow"] for flow in json.loads(command("flows", "--json", "--home", str(home)))]
    assert told_in(places.answers(url, {"run": list(newest.values()), "name": flows})) == []


def _of_the_server(home: Path) -> Iterator[places.Place]:
    """Those files of a home that are a server's."""
    for name in SERVERS_FILES:
        if (home / name).exists():
            yield name, (home / name).read_bytes()


def _kept_by(user: User) -> bytes:
    return b"".join(data for _, data in places.files_in(user.home / "storage"))
