"""Physical limits: the same work without an engine. Imports nothing of Playhead, so that worker processes of it start bare."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import orjson

RECORD_BYTES: Final = 400  # about what a step leaves in a journal
WORKERS: Final = 2


def nothing(x: int) -> int:
    return x + 1


def flush_seconds(folder: Path, times: int = 200) -> float:
    """One append and its fdatasync, on the folder's disk."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for _ in range(times):
            os.write(file.fileno(), b"x" * RECORD_BYTES)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began) / times


def thread_pool_seconds(count: int) -> float:
    """A fan-out on a bare thread pool, its opening and closing included; a task."""
    began = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        _fan_out(pool, count)
    return (time.perf_counter() - began) / count


def process_pool_seconds(count: int) -> float:
    """A fan-out on a bare process pool, its opening and closing included; a task."""
    began = time.perf_counter()
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("forkserver")) as pool:
        _fan_out(pool, count)
    return (time.perf_counter() - began) / count


def thread_hops_seconds(count: int) -> float:
    """A chain on a bare thread pool, each result taken before the next call; a step."""
    with ThreadPoolExecutor(WORKERS) as pool:
        began = time.perf_counter()
        x = 0
        for _ in range(count):
            x = pool.submit(nothing, x).result()
        return (time.perf_counter() - began) / count


def command_seconds(command: Sequence[str]) -> float:
    """A command from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def bare_python_seconds() -> float:
    return command_seconds([sys.executable, "-c", "pass"])


def fork_seconds() -> float:
    """From fork to the child's first byte, out of a process that has one thread and nothing imported."""
    answer = subprocess.run([sys.executable, "-c", _FORK], check=True, capture_output=True)
    return float(answer.stdout)


def commits_a_second(folder: Path, rows: int, commits: int) -> float:
    """Rows that SQLite makes durable in a second, `rows` in each commit."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        db = sqlite3.connect(Path(inner) / "limit.db", isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, body BLOB)")
            batch = [(b"x" * RECORD_BYTES,)] * rows
            began = time.perf_counter()
            for _ in range(commits):
                db.execute("BEGIN IMMEDIATE")
                db.executemany("INSERT INTO events (body) VALUES (?)", batch)
                db.execute("COMMIT")
            return rows * commits / (time.perf_counter() - began)
        finally:
            db.close()


def library_commits_a_second(path: Path, rows: int, commits: int) -> float:
    """Events that the eventsourcing library's own SQLite recorder keeps in a second, `rows` in each insert."""
    from eventsourcing.persistence import StoredEvent
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

    datastore = SQLiteDatastore(str(path), originator_id_type="text")
    recorder = SQLiteApplicationRecorder(datastore)
    recorder.create_table()
    try:
        began = time.perf_counter()
        for version in range(1, commits + 1):
            recorder.insert_events(
                [
                    StoredEvent(
                        originator_id=str(row), originator_version=version, topic="t", state=b"x" * RECORD_BYTES
                    )
                    for row in range(rows)
                ]
            )
        return rows * commits / (time.perf_counter() - began)
    finally:
        datastore.close()


def postgres_commits_a_second(url: str, rows: int, commits: int) -> float:
    """Rows that PostgreSQL makes durable in a second, `rows` in each commit, one statement a commit."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS benchmark_limit")
        db.execute("CREATE TABLE benchmark_limit (position bigint PRIMARY KEY, body bytea)")
        bodies = [b"x" * RECORD_BYTES] * rows
        began = time.perf_counter()
        for commit in range(commits):
            positions = list(range(commit * rows, (commit + 1) * rows))
            db.execute(
                "INSERT INTO benchmark_limit SELECT * FROM unnest(%b::bigint[], %b::bytea[])", (positions, bodies)
            )
        return rows * commits / (time.perf_counter() - began)


def parsed_a_second(bodies: Sequence[bytes]) -> float:
    """JSON objects that orjson reads in a second."""
    began = time.perf_counter()
    for body in bodies:
        orjson.loads(body)
    return len(bodies) / (time.perf_counter() - began)


def _fan_out(pool: Executor, count: int) -> None:
    total = sum(future.result() for future in [pool.submit(nothing, i) for i in range(count)])
    assert total == count * (count + 1) // 2


_FORK: Final = """
import os, time
took = []
for _ in range(10):
    read, write = os.pipe()
    began = time.perf_counter()
    if os.fork() == 0:
        os.write(write, b".")
        os._exit(0)
    os.read(read, 1)
    took.append(time.perf_counter() - began)
    os.close(read)
    os.close(write)
    os.wait()
print(sorted(took)[5])
"""


def kept_array(before: Any, megabytes: int, folder: Path | None) -> Any:
    """What `flows.array_of` and `flows.grown` do; with a folder, durable there before it is handed on."""
    import numpy as np

    array = np.zeros(megabytes * 125_000) if before is None else before + 1
    if folder is not None:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(pickle.dumps(array, pickle.HIGHEST_PROTOCOL))
            file.flush()
            os.fsync(file.fileno())
    return array


def first_of(array: Any) -> float:
    return float(array[0])
