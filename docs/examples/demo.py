"""The main job, as a person would type it: engine up, flow registered, run watched, history replayed, engine down.

`make demo` runs this. Everything it makes is in the folder `.playhead-demo` beside where it was started.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(".playhead-demo")
CENSUS = Path(__file__).with_name("census.py")
PLAYHEAD = str(Path(sys.executable).with_name("playhead"))
ENV = {**os.environ, "PLAYHEAD_HOME": str(HOME)}
START_SECONDS = 60.0
STOP_SECONDS = 30.0


def main() -> int:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    engine = start_engine()
    try:
        wait_for_engine(engine)
        for step in (
            ["register", relative(CENSUS) + ":census"],
            ["run", "census", "--watch"],
        ):
            code = say_and_run(*step)
            if code != 0:
                return code
        show_history()
    finally:
        stop(engine)
    return 0


def start_engine() -> subprocess.Popen[bytes]:
    """Server and local agent in one process: an SQLite log, a folder as storage, a free port."""
    say("playhead", "up", "--port", "0", "&")
    with (HOME / "engine.log").open("wb") as log:
        return subprocess.Popen(
            [PLAYHEAD, "up", "--port", "0"],
            env=ENV,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for_engine(engine: subprocess.Popen[bytes]) -> None:
    """`playhead up` writes its address into the home when it answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if engine.poll() is not None:
            break
        if (HOME / "server.json").exists():
            print(f"  it answers at {json.loads((HOME / 'server.json').read_text())['url']}")
            return
        time.sleep(0.05)
    sys.exit(f"the engine did not start:\n{(HOME / 'engine.log').read_text()}")


def show_history() -> None:
    """The log holds every change: look at the run as it was, event by event."""
    say_and_run("show", "@last", "--steps")
    say_and_run("replay", "@last", "--at", "12")
    print("\nThe history stays. Replay it yourself, to any moment, with or without a server:")
    for words in (["replay", "@last", "--at", "500"], ["events", "@last"], ["logs", "@last"]):
        print(f"  PLAYHEAD_HOME={HOME} {relative(Path(PLAYHEAD))} {shlex.join(words)}")


def say_and_run(*arguments: str) -> int:
    say("playhead", *arguments)
    return subprocess.run([PLAYHEAD, *arguments], env=ENV, check=False).returncode


def say(*words: str) -> None:
    print(f"\n$ {' '.join(words)}", flush=True)


def stop(engine: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would. The engine ends its agent, and the agent its runners."""
    if engine.poll() is None:
        engine.send_signal(signal.SIGINT)
    try:
        engine.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()
        sys.exit("the engine did not stop by itself")


def relative(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
