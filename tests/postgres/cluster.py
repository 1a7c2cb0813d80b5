"""A PostgreSQL cluster of a test session's own: made in a temporary folder, on a spare port of loopback, by an unprivileged user.

Owns its one process, the postmaster, from its start to its end; knows nothing of what is kept in it.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO, Final
from urllib.parse import quote

import psycopg
from psycopg.sql import SQL, Identifier

START_SECONDS: Final = 60.0  # a loaded machine makes a cluster in ten
STOP_SECONDS: Final = 30.0
STARTS: Final = 5  # a spare port may be taken by somebody else before we listen on it
SUPERUSER: Final = "owner"

# Durable as in production (fsync stays on), and small.
_CONFIGURATION: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "wal_level": "replica",
}


class Cluster:
    """A running server. Tests keep apart by `new_schema`, or by a database of their own."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._names = count(1)
        self._postmaster: subprocess.Popen[bytes] | None = None
        # The postmaster dies with the thread that made it: that one must live as long as this, whichever thread of a test asks.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        self.port = 0
        self._initialise()
        self.start()

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, **parameters: str) -> str:
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{'?' if query else ''}{query}"

    def new_log(self) -> str:
        """The URL of a log that nobody has opened yet: a schema of its own."""
        return self.url(schema=f"log_{next(self._names)}")

    def new_database(self, *, encoding: str = "UTF8") -> str:
        """The name of a fresh database."""
        name = f"db_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        return name

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as superuser, in autocommit; its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []

    def drop_schema(self, name: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)))

    def start(self) -> None:
        """Start the postmaster, on the port that it had before, and return when it answers."""
        assert self._postmaster is None, "it runs"
        for _ in range(STARTS):
            self.port = self.port or _spare_port()
            with (self._folder / "log").open("ab") as log:
                self._postmaster = self._thread.submit(self._postgres, log).result()
            if self._answers(self._postmaster):
                return
            self._postmaster = None
            self.port = 0
        raise RuntimeError(
            f"PostgreSQL does not start:\n{(self._folder / 'log').read_text('utf-8', 'replace')[-2000:]}"
        )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it in order (pg_ctl -m fast), SIGQUIT at once, as a crash does (pg_ctl -m immediate)."""
        if self._postmaster is None:
            return
        self._postmaster.send_signal(how)
        try:
            self._postmaster.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._postmaster.kill()
            self._postmaster.wait(STOP_SECONDS)
        self._postmaster = None

    def crash(self) -> None:
        """What `pg_ctl restart -m immediate` does: end it without a checkpoint, and start it again, which recovers."""
        self.stop(signal.SIGQUIT)
        self.start()

    def close(self) -> None:
        self.stop()
        self._thread.shutdown()

    def _postgres(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        command: list[str | Path] = [
            *_as_nobody(dies_with_us=True),
            self._programs / "postgres",
            "-D",
            self._data,
            "-p",
            str(self.port),
        ]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _initialise(self) -> None:
        made = subprocess.run(
            [
                *_as_nobody(),
                self._programs / "initdb",
                *("-D", self._data, "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"),
            ],
            cwd=self._folder,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stderr.decode(errors='replace')}")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{key} = '{value}'\n" for key, value in _CONFIGURATION.items())

    def _answers(self, postmaster: subprocess.Popen[bytes]) -> bool:
        """Return True when it does; False if it has ended."""
        give_up = time.monotonic() + START_SECONDS
        while postmaster.poll() is None and time.monotonic() < give_up:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        if postmaster.poll() is None:
            postmaster.kill()
            postmaster.wait(STOP_SECONDS)
        return False


@contextmanager
def running_cluster() -> Generator[Cluster]:
    """A cluster for as long as the block lasts. LookupError: PostgreSQL is not installed."""
    programs = find_programs()
    folder = Path(mkdtemp(prefix="playhead-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _unprivileged().pw_uid, _unprivileged().pw_gid)
    cluster: Cluster | None = None
    try:
        cluster = Cluster(programs, folder)
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def find_programs() -> Path:
    """The folder of PostgreSQL's programs: of those on the path, or of the newest that Debian has put aside."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not versions:
        raise LookupError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return versions[-1].parent


def _as_nobody(*, dies_with_us: bool = False) -> list[str]:
    """What stands before a command: PostgreSQL refuses to run as root, and must not outlive a session that was killed."""
    command = ["setpriv"] if dies_with_us or os.geteuid() == 0 else []
    if dies_with_us:
        command += ["--pdeathsig", "INT"]
    if os.geteuid() == 0:
        command += [f"--reuid={_unprivileged().pw_uid}", f"--regid={_unprivileged().pw_gid}", "--clear-groups"]
    return command


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError(f"user {getpass.getuser()} may not run PostgreSQL, and there is no user nobody")


def _spare_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
