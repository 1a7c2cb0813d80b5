"""Run configs: on what a flow wants to run. Frozen specs without any adapter; sealed with the flow, so that only their kind and labels
reach the server."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from playhead.core.names import MAX_LABELS, Name
from playhead.errors import UsageError


class RunConfig(BaseModel):
    """`labels`: a run is taken only by an agent that has all of them. `env`: added to the runner's environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: Annotated[frozenset[Name], Field(max_length=MAX_LABELS)] = frozenset()
    env: dict[str, str] = Field(default_factory=dict)


class UniversalRun(RunConfig):
    """Fits every agent."""

    kind: Literal["universal"] = "universal"

    if TYPE_CHECKING:  # any set of labels will do: pydantic makes a frozenset of it

        def __init__(self, *, labels: AbstractSet[str] = ..., env: Mapping[str, str] = ...) -> None: ...


class LocalRun(RunConfig):
    """A process beside a local agent. `working_dir`: where it runs; None: a folder of its own."""

    kind: Literal["local"] = "local"
    working_dir: str | None = None

    if TYPE_CHECKING:  # as above

        def __init__(
            self, *, labels: AbstractSet[str] = ..., env: Mapping[str, str] = ..., working_dir: str | None = None
        ) -> None: ...


AnyRunConfig = Annotated[UniversalRun | LocalRun, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[UniversalRun | LocalRun] = TypeAdapter(AnyRunConfig)


def parse_run_config(fields: dict[str, Any]) -> UniversalRun | LocalRun:
    """The spec from its sealed form. Raises UsageError for a kind that this version does not know."""
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError:
        raise UsageError(f"unknown run config {fields.get('kind')!r}", hint="known: universal, local") from None
