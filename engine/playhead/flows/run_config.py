"""Run configs: on what a flow wants to run. Frozen specs without any adapter; sealed with the flow, so that only their kind and labels
reach the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from playhead.core.names import MAX_LABELS, Name
from playhead.errors import UsageError
from playhead.flows.mounts import Mount


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


PullPolicy = Literal["always", "missing", "never"]
MAX_MOUNTS: Final = 64  # of a container: more are a mistake
SMALLEST_MEMORY_MB: Final = 32  # an interpreter with Playhead in it does not start in less


def _mount(text: str) -> str:
    try:
        return str(Mount.parse(text))
    except UsageError as error:
        raise ValueError(error.message) from None


class DockerRun(RunConfig):
    """A container, made by a Docker agent. All of it is sealed; the server learns its kind and its labels.

    * `image`: None: the agent's default. It holds Playhead, of the agent's version. `python`: the interpreter in it.
    * `pull`: when the agent fetches the image; None: as the agent was told.
    * `mounts`: `SOURCE:TARGET` or `SOURCE:TARGET:ro`, `network`: the name of one. Both only if the agent's owner allows them; None: the
      agent's own network.
    * `memory_mb`, `cpus`, `gpus`: the most that it may use; None: of GPUs none, else whatever there is.
    * `working_dir`: in the container. `container_labels`: for whoever looks at containers; everybody there can read them.
    """

    kind: Literal["docker"] = "docker"
    image: Annotated[str, Field(min_length=1, pattern=r"^[^\s]+$")] | None = None
    python: Annotated[str, Field(min_length=1)] = "python3"
    pull: PullPolicy | None = None
    mounts: Annotated[tuple[Annotated[str, AfterValidator(_mount)], ...], Field(max_length=MAX_MOUNTS)] = ()
    network: Annotated[str, Field(min_length=1)] | None = None
    memory_mb: Annotated[int, Field(ge=SMALLEST_MEMORY_MB)] | None = None
    cpus: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gpus: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    working_dir: str | None = None
    container_labels: dict[str, str] = Field(default_factory=dict)

    if TYPE_CHECKING:  # as above

        def __init__(
            self,
            *,
            image: str | None = None,
            python: str = ...,
            pull: PullPolicy | None = None,
            mounts: Sequence[str] = ...,
            network: str | None = None,
            memory_mb: int | None = None,
            cpus: float | None = None,
            gpus: int | Literal["all"] | None = None,
            working_dir: str | None = None,
            container_labels: Mapping[str, str] = ...,
            labels: AbstractSet[str] = ...,
            env: Mapping[str, str] = ...,
        ) -> None: ...


KnownRunConfig = UniversalRun | LocalRun | DockerRun
_ADAPTER: TypeAdapter[KnownRunConfig] = TypeAdapter(Annotated[KnownRunConfig, Field(discriminator="kind")])
_KINDS: Final = ("universal", "local", "docker")


def parse_run_config(fields: Mapping[str, Any]) -> KnownRunConfig:
    """The spec from its sealed form. UsageError: this version does not know its kind, or a field of it."""
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        if fields.get("kind") in _KINDS:
            where = ", ".join(sorted({str(e["loc"][-1]) for e in error.errors(include_input=False)}))
            raise UsageError(
                f"the run config of kind {fields['kind']!r} has fields that do not fit: {where}",
                hint="register the flow again with the version of Playhead that runs it",
            ) from None
        raise UsageError(f"unknown run config {fields.get('kind')!r}", hint=f"known: {', '.join(_KINDS)}") from None
