"""Parameters as bytes that the runner can load: what the flow's own module defines travels the way that the flow's code does.

A program that starts its own flow hands over objects of its own classes. Sealed by file, the runner knows those classes under the
sealed module's name, so they are named so; sealed by value they go along. Otherwise an `isinstance` in the flow would fail there.
"""

from __future__ import annotations

import io
import sys
from types import FunctionType, ModuleType
from typing import Any, assert_never

from playhead.client.sealing import taken_by_value
from playhead.flows.flow import Flow
from playhead.trust.code import member, module_name
from playhead.trust.payload import PROTOCOL, ValuePickler, dump, dump_by_value
from playhead.trust.seal import Code, FileCode, ModuleCode, ValueCode


def dump_parameters(values: dict[str, Any], code: Code, flow: Flow[..., Any]) -> bytes:
    """The parameters of a run of this flow, which was sealed as that code. Each was seen to be picklable before."""
    module = sys.modules.get(flow.fn.__module__)
    match code:
        case ModuleCode():
            return dump(values)
        case FileCode():
            sealed = module_name(code)
            if module is None or module.__name__ == sealed:
                return dump(values)
            return _dump_renamed(values, module, sealed)
        case ValueCode():
            with taken_by_value(module):
                return dump_by_value(values)
        case _:
            assert_never(code)


def _dump_renamed(values: object, module: ModuleType, name: str) -> bytes:
    buffer = io.BytesIO()
    _RenamingPickler(buffer, module, name).dump(values)
    return buffer.getvalue()


class _RenamingPickler(ValuePickler):
    """Names what the module defines as if the module had another name."""

    def __init__(self, buffer: io.BytesIO, module: ModuleType, name: str) -> None:
        super().__init__(buffer, PROTOCOL)
        self._module = module
        self._name = name

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == self._module.__name__:
            found: Any = self._module
            for part in obj.__qualname__.split("."):
                found = getattr(found, part, None)
            if found is obj:
                return member, (self._name, obj.__qualname__)
        return super().reducer_override(obj)
