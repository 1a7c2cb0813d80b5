"""A sealed flow: its code and all of its configuration, in the user's storage, signed. Owns what is sealed and where it lies.

The server gets a seal's id and its declared names, and can change nothing of it: not an image, not a command, not a mount.
Loading the code is `playhead.trust.code`'s work; reading a seal runs none of it.
"""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NewType

from pydantic import Field, JsonValue

from playhead.core.names import Name, check_name
from playhead.ports.storage import Storage
from playhead.trust.envelope import Identity
from playhead.trust.keys import DerivedKey
from playhead.trust.objects import Signed, read_signed, write_signed
from playhead.trust.payload import check_serialisable

SealId = NewType("SealId", str)  # 32 hexadecimal digits: a keyed MAC of what is sealed

SEAL_ID_BYTES: Final = 16


class ModuleCode(Signed):
    """Code that is installed wherever the flow runs. Only its name is sealed."""

    kind: Literal["module"] = "module"
    module: str
    qualname: str


class FileCode(Signed):
    """One Python file, sealed whole."""

    kind: Literal["file"] = "file"
    source: bytes
    stem: Annotated[str, Field(pattern=r"^[^/]{1,255}$")]  # of the file's name: "census" for census.py
    qualname: str


class ValueCode(Signed):
    """The flow itself, by cloudpickle. It loads only on the Python minor version that made it."""

    kind: Literal["value"] = "value"
    pickled: bytes
    python: Annotated[str, Field(pattern=r"^3\.[0-9]{1,3}$")]


Code = Annotated[ModuleCode | FileCode | ValueCode, Field(discriminator="kind")]


class ParameterKind(StrEnum):
    """As `inspect.Parameter.kind`."""

    POSITIONAL_ONLY = "positional_only"
    POSITIONAL_OR_KEYWORD = "positional_or_keyword"
    VAR_POSITIONAL = "var_positional"
    KEYWORD_ONLY = "keyword_only"
    VAR_KEYWORD = "var_keyword"


class Parameter(Signed):
    """One parameter of a flow. `default` is its default as a payload, None if it has none."""

    name: str
    kind: ParameterKind
    default: bytes | None = None

    @property
    def required(self) -> bool:
        return self.default is None and self.kind not in (ParameterKind.VAR_POSITIONAL, ParameterKind.VAR_KEYWORD)


class Seal(Signed):
    """Everything that decides what a run of this flow does, except its parameters."""

    flow: Name
    code: Code
    signature: tuple[Parameter, ...] = ()
    executor: dict[str, JsonValue]  # the spec, as its own class writes it
    run_config: dict[str, JsonValue]  # likewise
    settings: dict[str, JsonValue] = Field(default_factory=dict)  # of the flow itself; one more is no new format

    def id(self, flow_key: DerivedKey, *, encrypt: bool = False) -> SealId:
        """The same for the same content and key, so that sealing a flow twice makes one object; tells nothing without the key.

        Encrypted it is another object, and so has another id.
        """
        kind = b"encrypted seal id\0" if encrypt else b"seal id\0"
        mac = hmac.digest(flow_key.secret, kind + self.signed_form(), "sha256")
        return SealId(mac[:SEAL_ID_BYTES].hex())


def signature_of(fn: Callable[..., Any]) -> tuple[Parameter, ...]:
    """A function's parameters, defaults as payloads. BadParameter: a default cannot be pickled."""
    return tuple(
        Parameter(
            name=each.name,
            kind=ParameterKind[each.kind.name],
            default=None if each.default is each.empty else check_serialisable(each.name, each.default),
        )
        for each in inspect.signature(fn).parameters.values()
    )


def write_seal(storage: Storage, seal: Seal, flow_key: DerivedKey, *, encrypt: bool = False) -> SealId:
    """Put the seal into storage, durable; sealing the same content again does nothing. Returns its id."""
    seal_id = seal.id(flow_key, encrypt=encrypt)
    path, identity = _path(seal.flow, seal_id), _identity(seal.flow, seal_id)
    write_signed(storage, path, seal.signed_form(), identity, flow_key, encrypt=encrypt)
    return seal_id


def read_seal(storage: Storage, flow: str, seal_id: str, flow_key: DerivedKey) -> Seal:
    """The seal, verified; none of its code is loaded. NoSuchObject: it is not there. TrustError: it is not what was asked for."""
    content = read_signed(storage, _path(flow, seal_id), _identity(flow, seal_id), flow_key)
    return Seal.from_signed_form(content, f"seal {seal_id} of flow {flow}")


def _path(flow: str, seal_id: str) -> str:
    return f"flows/{check_name('flow', flow)}/{seal_id}"


def _identity(flow: str, seal_id: str) -> Identity:
    return Identity.of("seal", flow=flow, seal=seal_id)
