"""The lane `test-stores`: the engine's own tests, with every log in another store than memory. `python -m tests.on_stores`

The conformance suite tries a store alone; whether service, server, agents and clients are at home on it is seen here. Where
PostgreSQL is not installed its turn is left out, and the reason is told; with CI=true that is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bridge import recorders
from tests.postgres.cluster import running_cluster
from tests.rooms import ROOT
from tests.stores import NEW

NEAR_THE_LOG: Final = ("tests/service", "tests/server")
SUITE: Final = (*NEAR_THE_LOG, "tests/agent", "tests/client_side")
LANE: Final = "not real and not faults and not simulation"
LIMIT_SECONDS: Final = 900  # for one store


@dataclass(frozen=True, slots=True)
class Turn:
    name: str
    url: str
    tests: tuple[str, ...]

    def passes(self) -> bool:
        print(f"=== the engine's tests on {self.name}: {' '.join(self.tests)}", flush=True)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "2",
            "-m",
            LANE,
            "-p",
            "no:cacheprovider",
            "--store",
            self.url,
            *self.tests,
        ]
        return subprocess.run(command, cwd=ROOT, timeout=LIMIT_SECONDS, check=False).returncode == 0


def main() -> int:
    """Exit code 0 if the tests passed on every store that is to be had."""
    with _turns() as turns:
        failed = [turn.name for turn in turns if not turn.passes()]
    if failed:
        print(f"the engine's tests failed on {', '.join(failed)}")
    return 1 if failed else 0


@contextmanager
def _turns() -> Generator[tuple[Turn, ...]]:
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory(prefix="playhead-stores-")))
        bridge = Turn("the bridge over the library's SQLite", recorders.sqlite(folder, name=NEW), SUITE)
        try:
            cluster = held.enter_context(running_cluster())
        except LookupError as error:
            if os.environ.get("CI") == "true":
                raise
            print(f"left out: {error}")
            yield (bridge,)
        else:
            # A schema for each test takes it as long as the test: those that only ask a service add nothing to what its own show.
            yield (bridge, Turn("PostgreSQL", f"{cluster.url()}?schema={NEW}", NEAR_THE_LOG))


if __name__ == "__main__":
    sys.exit(main())
