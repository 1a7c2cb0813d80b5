"""Names and numbers that cross to the server, each a type of its own. Owns their patterns; does no I/O.

Declared names are chosen in code and never computed from data, so that they may be shown to a server that must not
see data: `[A-Za-z0-9_.-]{1,64}`.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, NewType

from pydantic import Field

from playhead.errors import UsageError

RunId = NewType("RunId", str)  # 32 hexadecimal digits
AgentId = NewType("AgentId", str)
TaskKey = NewType("TaskKey", str)  # a call's place in its flow: "extract", "extract~2", "branch~2/load", "parse.17"
StreamName = NewType("StreamName", str)  # "default/run/<run id>"
LogId = NewType("LogId", str)  # names one history; a restore makes a new one

Position = NewType("Position", int)  # an event's place in the whole log, from 1; 0 is "before everything"
Version = NewType("Version", int)  # an event's place in its stream, from 1; 0 is "no event yet"
Epoch = NewType("Epoch", int)  # fencing number of a run's lease, from 1
Seq = NewType("Seq", int)  # number of a record in one journal, from 0
Micros = NewType("Micros", int)  # a moment, in microseconds since 1970-01-01 UTC

NAME_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$"
KEY_PATTERN: Final = r"^(/|[A-Za-z0-9_.~/-]{1,512})$"
RUN_ID_PATTERN: Final = r"^[0-9a-f]{32}$"
FLOW_KEY: Final = TaskKey("/")  # the key of the flow's own outcome
NAMESPACE: Final = "default"
MAX_LABELS: Final = 32  # a run's labels are read by people, and matched by every agent

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Key = Annotated[str, Field(pattern=KEY_PATTERN)]
RunIdField = Annotated[str, Field(pattern=RUN_ID_PATTERN)]

_NAME = re.compile(NAME_PATTERN)


def check_name(kind: str, name: str) -> str:
    """The name itself, if the server may learn it; else a UsageError that says which letters are allowed."""
    if not _NAME.fullmatch(name):  # `$` alone would let a newline at the end pass
        raise UsageError(
            f"{name!r} cannot be the name of a {kind}",
            hint="1 to 64 letters, digits, '_', '.' or '-' (it crosses to the server)",
        )
    return name


def run_stream(run: str) -> StreamName:
    return StreamName(f"{NAMESPACE}/run/{run}")


def flow_stream(flow: str) -> StreamName:
    return StreamName(f"{NAMESPACE}/flow/{flow}")


def agent_stream(agent: str) -> StreamName:
    return StreamName(f"{NAMESPACE}/agent/{agent}")


def token_stream(token: str) -> StreamName:
    return StreamName(f"{NAMESPACE}/token/{token}")
