"""The places where a server could have kept or shown a word. Owns reading them whole; judges nothing."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from playhead.server.app import create_app
from playhead.server.routes.lean import LeanRoute
from tests.server.scripted import ScriptedApi

BLOCK_BYTES: Final = 1 << 26
ANSWER_SECONDS: Final = 30.0
STREAMED_BYTES: Final = 1 << 16  # of an answer that never ends

Place = tuple[str, bytes]


def files_in(folder: Path) -> Iterator[Place]:
    """Every file below the folder with its name, those that a process deletes meanwhile left out."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.is_file():
                yield str(path), str(path).encode() + b"\0" + path.read_bytes()


def process(pid: int) -> Iterator[Place]:
    """What the system shows of a process."""
    for name in ("cmdline", "environ", "maps", "comm"):
        yield f"/proc/{pid}/{name}", Path(f"/proc/{pid}/{name}").read_bytes()


def memory_of(pid: int) -> Iterator[Place]:
    """All memory of a process that it can write to: its heap, its stacks, and what it has let go and not overwritten."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            limits, rights, *_ = line.split(maxsplit=2)
            if "w" not in rights:
                continue
            begin, end = (int(each, 16) for each in limits.split("-"))
            memory.seek(begin)
            block = bytearray()
            while len(block) < end - begin:
                try:
                    piece = memory.read(min(BLOCK_BYTES, end - begin - len(block)))
                except OSError:  # given back to the system meanwhile, or a device's
                    break
                if not piece:
                    break
                block += piece
            yield f"memory of {pid} at {limits}", bytes(block)


def questions() -> list[LeanRoute]:
    """Every route that can be asked without a command, as the app has them."""
    app = create_app(ScriptedApi())
    return [route for route in app.routes if isinstance(route, LeanRoute) and route.method == "GET"]


def answers(url: str, named: dict[str, list[str]]) -> Iterator[Place]:
    """Each question's answer, for each of the names that stand for its path's parameter; and the API's description."""
    for route in questions():
        parameters = list(route.param_convertors)
        for name in named[parameters[0]] if parameters else [""]:
            path = re.sub(r"\{\w+\}", name, route.path)
            yield path, _answer(f"{url}{path}")
    yield "/openapi.json", _answer(f"{url}/openapi.json")


def _answer(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
        head = str(answer.headers).encode()
        if answer.headers.get_content_type() == "text/event-stream":
            return head + b"".join(iter(lambda: answer.readline(STREAMED_BYTES), b": beat\n"))
        return head + bytes(answer.read())


def asked(url: str, path: str) -> Any:
    """What the API answers to a question."""
    with urllib.request.urlopen(f"{url}/api{path}", timeout=ANSWER_SECONDS) as answer:
        return json.load(answer)
