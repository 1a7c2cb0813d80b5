"""The words that events use for kinds of things, each a closed set. Who only uses such a word need not import the events."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Origin(StrEnum):
    """How a run came to be."""

    ASKED = "asked"
    SCHEDULE = "schedule"
    EMBEDDED = "embedded"
    PRESET = "preset"  # somebody without the key, for one of the flow's signed sets of parameters


class FailureCategory(StrEnum):
    """Why a task or a flow failed, as far as the server may know."""

    RAISED = "raised"  # an exception of its own
    EXITED = "exited"  # sys.exit, or another BaseException
    TIMED_OUT = "timed_out"
    LOST = "lost"  # its infrastructure, more often than its budget allows; or the executor was not to be opened
    UPSTREAM = "upstream"  # something that it needs failed
    UNLOADABLE = "unloadable"  # its result or exception cannot be pickled or read back
    FLOW_LOAD = "flow_load"  # the sealed code does not load here
    DIVERGED = "diverged"
    STORAGE_LOST = "storage_lost"
    TRUST = "trust"  # a seal, ticket or record does not carry the right signature


class LossReason(StrEnum):
    """How a runner was lost."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    LEASE_EXPIRED = "lease_expired"
    DRAINED = "drained"  # its agent ended it on purpose: not the run's fault, and counted against nobody
    OUT_OF_MEMORY = "out_of_memory"  # killed for using more than its container may


class ReleaseReason(StrEnum):
    """Why a claim went back before the flow's code began."""

    LAUNCH_FAILED = "launch_failed"
    LAUNCH_TIMED_OUT = "launch_timed_out"
    RUNNER_DIED = "runner_died"
    STORAGE_UNREACHABLE = "storage_unreachable"
    DRAINING = "draining"
    REFUSED = "refused"  # what the server says of it is not what was signed
    NOT_ALLOWED = "not_allowed"  # signed, and not on the agent's lists of what it takes
    IMAGE_MISSING = "image_missing"  # not here, and not to be had
    IMAGE_UNFIT = "image_unfit"  # without Playhead, or with another version of it or of Python
    INFRASTRUCTURE_UNREACHABLE = "infrastructure_unreachable"  # what should start the runner does not answer the agent


class RunnerExit(IntEnum):
    """What a runner's exit code says. An image's own programs may use any of them: they are a hint for people, and proof of nothing."""

    OK = 0  # the log has acknowledged the run's end, however it ended
    BAD_ORDER = 65
    NO_PLAYHEAD = 66  # the image lacks it
    OTHER_VERSION = 67  # the image holds another one than the agent's
    OTHER_PYTHON = 68  # the image's interpreter is of another minor version than the agent says
    NO_SERVER = 69
    BROKEN = 70  # anything else
    NO_STORAGE = 74
    OVER = 75  # this runner's time was over, another continues


class CrashReason(StrEnum):
    LOSSES = "losses"  # lost more often than the budget allows
    RELEASES = "releases"  # handed back more often than the budget allows
    EMBEDDING_ENDED = "embedding_ended"  # the program that ran it is gone


class RunEnd(StrEnum):
    """How a run ended: the terminal states, by their names."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"


class FactKind(StrEnum):
    """What a flow asked of the world outside itself."""

    NOW = "now"
    RANDOM = "random"
    UUID4 = "uuid4"


class SealedBy(StrEnum):
    MODULE = "module"
    FILE = "file"
    VALUE = "value"
