"""The words that events use for kinds of things, each a closed set. Who only uses such a word need not import the events."""

from __future__ import annotations

from enum import StrEnum


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
    LOST = "lost"  # its infrastructure, more often than its budget allows
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


class ReleaseReason(StrEnum):
    """Why a claim went back before the flow's code began."""

    LAUNCH_FAILED = "launch_failed"
    LAUNCH_TIMED_OUT = "launch_timed_out"
    RUNNER_DIED = "runner_died"
    STORAGE_UNREACHABLE = "storage_unreachable"
    DRAINING = "draining"
    REFUSED = "refused"  # what the server says of it is not what was signed
    NOT_ALLOWED = "not_allowed"  # signed, and not on the agent's lists of what it takes


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
