"""The tree of errors: every error that Playhead raises on purpose, and nothing else.

    PlayheadError
    ├── UsageError                 the caller is wrong, and can mend it
    │   ├── NotFound               no such flow, run, agent, version
    │   ├── BadParameter           unknown, missing, of the wrong type, or not serialisable
    │   ├── BadSchedule            an unknown time zone, a cron expression that does not parse
    │   ├── FlowLoadError          a flow's file or module does not load, or holds no such flow
    │   └── MisusedCall            a task or future used where it has no place
    ├── FlowRunFailed              the flow raised, or a task failed and nobody looked
    ├── FlowRunCancelled
    ├── FlowRunCrashed             its infrastructure was lost too often
    ├── TaskError                  what awaiting a task's future raises when it is not the task's own exception
    │   ├── TaskTimedOut           (also a TimeoutError)
    │   ├── TaskCancelled
    │   ├── TaskLost               its worker died, more often than the budget allows
    │   ├── UpstreamFailed
    │   └── UnloadableOutcome      a result or an exception that cannot be pickled or unpickled
    ├── LogError
    │   ├── WrongVersion           the stream is not at the expected version
    │   ├── AppendMismatch         an append id came again with another body
    │   ├── OutcomeUnknown         a commit's fate is not known: append the same id again
    │   ├── IllegalEvent           the lifecycle forbids it; carries the story so far
    │   ├── UnknownEvent           an event type or schema that this version does not know
    │   ├── LogUnusable            not a Playhead log, damaged, from a newer version, read-only, or full
    │   └── CursorRefused          the cursor belongs to another log, or to a future this log does not have
    ├── StorageError
    │   ├── StorageUnavailable     cannot be reached, read or written
    │   │   └── StorageFull        no room: nothing was written, and the same works again once there is some
    │   ├── StorageLost            the log knows a completion whose record is gone
    │   ├── AlreadyExists
    │   ├── NoSuchObject
    │   └── JournalCorrupt
    ├── TrustError                 a signature or key does not fit; nothing was loaded
    │   └── NotAllowed             signed, and not on the lists of what this agent takes
    ├── RunnerEnded                this runner must stop
    │   ├── Fenced                 a successor has fenced its journal
    │   └── EpochOver              the server gave the run to another, or ended it
    ├── Diverged                   a resumed flow asked for other work than it did before
    ├── InfrastructureLost         a worker died under a call
    ├── LaunchFailed               an agent could not launch a runner; nothing of it is left
    ├── Refused                    a command that the state of a run, flow or agent does not allow
    ├── AccessDenied               the server lets whoever asks not do this
    │   ├── Unauthenticated        it asks for a token: there is none, or one that does not count
    │   └── Forbidden              what the token is for does not include it
    └── ServerError
        ├── ServerUnreachable
        └── ServerRefused          the server answered no; carries its code

Each error has a message that says what is wrong and where, and a `hint` that says what to do next.
This file imports nothing of Playhead.
"""

from __future__ import annotations


class PlayheadError(Exception):
    """The root. `code` is a stable word for programs; `hint` tells the reader what to do next."""

    code = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, so that an error survives the way back from a worker process."""
        return (_rebuild, (type(self), self.__dict__.copy(), self.args))


def _rebuild(cls: type[PlayheadError], fields: dict[str, object], args: tuple[object, ...]) -> PlayheadError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(fields)
    return error


def _text_of(error: BaseException) -> str:
    """A user's exception in words, also where its own `__str__` is broken: then the run's failure must still be told."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001  # foreign code
        return f"<its text cannot be made: {type(broken).__name__}>"


# --- the caller is wrong -----------------------------------------------------------------------------------------


class UsageError(PlayheadError):
    code = "usage"


class NotFound(UsageError):
    """No such flow, run, agent or version. `kind` is the noun, `name` what was asked for."""

    code = "not_found"

    def __init__(self, kind: str, name: str, *, hint: str | None = None) -> None:
        super().__init__(f"no {kind} named {name!r}", hint=hint)
        self.kind = kind
        self.name = name


class BadParameter(UsageError):
    code = "bad_parameter"


class BadSchedule(UsageError):
    code = "bad_schedule"


class FlowLoadError(UsageError):
    code = "flow_load"


class MisusedCall(UsageError):
    code = "misused_call"


# --- how a flow run ended ------------------------------------------------------------------------------------------


class FlowRunFailed(PlayheadError):
    """The run failed. `task_key` names the task whose failure ended it, if one did; `__cause__` is the exception."""

    code = "flow_run_failed"

    def __init__(self, run_id: str, task_key: str | None, cause: BaseException | None) -> None:
        where = f" in task {task_key}" if task_key else ""
        what = f": {type(cause).__name__}: {_text_of(cause)}" if cause is not None else ""
        super().__init__(f"flow run {run_id} failed{where}{what}", hint=f"playhead show {run_id} --failures")
        self.run_id = run_id
        self.task_key = task_key
        self.__cause__ = cause


class FlowRunCancelled(PlayheadError):
    code = "flow_run_cancelled"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"flow run {run_id} was cancelled")
        self.run_id = run_id


class FlowRunCrashed(PlayheadError):
    code = "flow_run_crashed"

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(
            f"flow run {run_id} crashed: {reason}", hint=f"playhead show {run_id} --steps tells who was lost when"
        )
        self.run_id = run_id
        self.reason = reason


# --- how a task ended ------------------------------------------------------------------------------------------------


class TaskError(PlayheadError):
    """A task's end that is not its own exception. `task_key` names the task."""

    code = "task"

    def __init__(self, message: str, *, task_key: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.task_key = task_key


class TaskTimedOut(TaskError, TimeoutError):
    code = "task_timed_out"


class TaskCancelled(TaskError):
    code = "task_cancelled"


class TaskLost(TaskError):
    code = "task_lost"


class UpstreamFailed(TaskError):
    code = "upstream_failed"


class UnloadableOutcome(TaskError):
    code = "unloadable_outcome"


# --- the log -----------------------------------------------------------------------------------------------------------


class LogError(PlayheadError):
    code = "log"


class WrongVersion(LogError):
    """The stream stands at `actual`, not at what the append expected. Nothing was written."""

    code = "wrong_version"

    def __init__(self, stream: str, expected: object, actual: int) -> None:
        super().__init__(f"stream {stream} is at version {actual}, expected {expected}")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class AppendMismatch(LogError):
    code = "append_mismatch"

    def __init__(self, stream: str, append_id: str) -> None:
        super().__init__(f"append {append_id!r} to stream {stream} was recorded before with another body")
        self.stream = stream
        self.append_id = append_id


class OutcomeUnknown(LogError):
    """The store cannot say whether the commit happened. Settle it by appending again under the same append id."""

    code = "outcome_unknown"


class IllegalEvent(LogError):
    """The lifecycle forbids this event in this state. `story` is the stream's events so far, oldest first."""

    code = "illegal_event"

    def __init__(self, message: str, *, story: tuple[str, ...] = ()) -> None:
        tail = " → ".join(story[-12:])
        super().__init__(message, hint=f"the story so far: {tail}" if tail else None)
        self.story = story


class UnknownEvent(LogError):
    code = "unknown_event"


class LogUnusable(LogError):
    code = "log_unusable"


class CursorRefused(LogError):
    code = "cursor_refused"


# --- storage ------------------------------------------------------------------------------------------------------------


class StorageError(PlayheadError):
    code = "storage"


class StorageUnavailable(StorageError):
    code = "storage_unavailable"


class StorageFull(StorageUnavailable):
    code = "storage_full"


class StorageLost(StorageError):
    code = "storage_lost"


class AlreadyExists(StorageError):
    code = "already_exists"


class NoSuchObject(StorageError):
    code = "no_such_object"


class JournalCorrupt(StorageError):
    code = "journal_corrupt"


class TrustError(PlayheadError):
    code = "trust"


class NotAllowed(TrustError):
    code = "not_allowed"


# --- the runner -----------------------------------------------------------------------------------------------------------


class RunnerEnded(PlayheadError):
    code = "runner_ended"


class Fenced(RunnerEnded):
    code = "fenced"


class EpochOver(RunnerEnded):
    code = "epoch_over"


class Diverged(PlayheadError):
    code = "diverged"

    def __init__(self, message: str, *, task_key: str, hint: str | None = None) -> None:
        super().__init__(
            message,
            hint=hint
            or "a flow must ask for the same tasks in the same places when it is resumed: "
            "put what differs from time to time (clocks, random numbers, files) into tasks",
        )
        self.task_key = task_key


class InfrastructureLost(PlayheadError):
    """A worker died under a call. `exit_code` or `signal` say how, where that is known; `memory_limit`: it was ended because it
    came too near to so many bytes.
    """

    code = "infrastructure_lost"

    def __init__(
        self,
        message: str,
        *,
        exit_code: int | None = None,
        signal: int | None = None,
        memory_limit: int | None = None,
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal
        self.memory_limit = memory_limit


class LaunchFailed(PlayheadError):
    """A runner was not launched. `reason`: the word for it that the server may know; the message is for the agent's log."""

    code = "launch_failed"

    def __init__(self, message: str, *, hint: str | None = None, reason: str = "launch_failed") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class Refused(PlayheadError):
    """A command that the state of the run, flow or agent does not allow. `code` is the stable word for why."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


# --- access ---------------------------------------------------------------------------------------------------------------


class AccessDenied(PlayheadError):
    code = "access_denied"


class Unauthenticated(AccessDenied):
    """Nobody whom the server knows asks. `code`: token_required, token_malformed, token_unknown, token_revoked or token_ended."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Forbidden(AccessDenied):
    """The token counts, and is not for this. `scopes` may do it."""

    code = "forbidden"

    def __init__(self, message: str, *, scopes: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.scopes = scopes


# --- the server -----------------------------------------------------------------------------------------------------------


class ServerError(PlayheadError):
    code = "server"


class ServerUnreachable(ServerError):
    code = "server_unreachable"


class ServerRefused(ServerError):
    """The server answered no. `status` is HTTP's, `code` the server's stable word."""

    def __init__(self, message: str, *, code: str, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
