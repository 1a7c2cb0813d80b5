"""From what a person types to the flow: `FILE.py:FLOW`, `module:FLOW`, or `FILE.py` with one flow in it.

A file is loaded as a runner will load it, sealed and away from the files beside it, so that what cannot run there fails here. Names of
registered flows are the caller's business.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from playhead.errors import FlowLoadError, UsageError
from playhead.flows.flow import Flow
from playhead.flows.flow import flow as flow_decorator
from playhead.trust.code import file_code, load_file, load_module, named_in
from playhead.trust.seal import FileCode

_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_FORMS: Final = "write FILE.py:FLOW, module:FLOW, or FILE.py if one flow is in it"


def is_target(text: str) -> bool:
    """Whether the text names a place of code, and not a registered flow."""
    return ":" in text or "/" in text or text.endswith(".py")


def load_target(target: str) -> Flow[..., Any]:
    """The flow that the target names.

    UsageError: the target has no such form, or names a file with several flows. NotFound: no such file. FlowLoadError: the code does
    not load, has no such flow, or has two of one name; the message says where.
    """
    place, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    if place.endswith(".py") or "/" in place:
        code = file_code(Path(place).expanduser(), name or "?")
        module, where = load_file(code), Path(place).name
        _refuse_shadowed(code, module, where)
    elif name and _MODULE.fullmatch(place):
        module, where = _module(place), place
    else:
        raise UsageError(f"{target!r} names no flow's code", hint=_FORMS)
    _refuse_namesakes(module, where)
    return _named(module, where, name) if name else _only(module, where)


def _named(module: ModuleType, where: str, name: str) -> Flow[..., Any]:
    found: Flow[..., Any] | object = named_in(module, where, name, _is_flow)
    if isinstance(found, Flow):
        return cast("Flow[..., Any]", found)
    raise FlowLoadError(f"{name!r} in {where} is a {type(found).__name__}, not a flow", hint=_there(module))


def _only(module: ModuleType, where: str) -> Flow[..., Any]:
    """The one flow that the file defines; or, where it defines none, the one that it imports."""
    own = _own_flows(module) or _flows(module)
    if len(set(map(id, own.values()))) > 1:
        raise UsageError(
            f"{where} has several flows: {', '.join(sorted(own))}",
            hint=f"name the one that is meant: {where}:{min(own)}",
        )
    if not own:
        raise FlowLoadError(f"there is no flow in {where}", hint="put @flow above the function that is one")
    return next(iter(own.values()))


def _module(name: str) -> ModuleType:
    try:
        return load_module(name)
    except FlowLoadError as error:
        file = Path(*name.split(".")).with_suffix(".py")
        if isinstance(error.__cause__, ModuleNotFoundError) and "is not installed" in error.message and file.is_file():
            raise FlowLoadError(error.message, hint=f"is it the file that is here? then write {file}:FLOW") from error
        raise


def _refuse_namesakes(module: ModuleType, where: str) -> None:
    """Two flows of one name would register over one another."""
    seen: dict[str, tuple[str, Flow[..., Any]]] = {}
    for variable, each in _own_flows(module).items():
        other, first = seen.setdefault(each.name, (variable, each))
        if first is not each:
            raise FlowLoadError(
                f"{where} has two flows named {each.name!r}: {other} and {variable}",
                hint='give one of them another name: @flow(name="...")',
            )


def _refuse_shadowed(code: FileCode, module: ModuleType, where: str) -> None:
    """A second function of one name hides the first, and its flow is gone without a trace at run time: the source still has both."""
    lines: dict[str, int] = {}
    for node in ast.parse(code.source).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not any(_decorates_flow(each, module) for each in node.decorator_list):
            continue
        first = lines.setdefault(node.name, node.lineno)
        if first != node.lineno:
            raise FlowLoadError(
                f"{where} has two flows named {node.name!r}: in line {first} and in line {node.lineno}",
                hint="the second hides the first: rename one of the functions",
            )


def _decorates_flow(decorator: ast.expr, module: ModuleType) -> bool:
    """Whether the decorator is playhead's `flow`, under whatever name the module knows it."""
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    found: Any = module
    for name in ast.unparse(decorator).split("."):
        found = getattr(found, name, None)
    return found is flow_decorator


def _flows(module: ModuleType) -> dict[str, Flow[..., Any]]:
    return {name: cast("Flow[..., Any]", value) for name, value in vars(module).items() if isinstance(value, Flow)}


def _own_flows(module: ModuleType) -> dict[str, Flow[..., Any]]:
    return {name: each for name, each in _flows(module).items() if each.fn.__module__ == module.__name__}


def _is_flow(value: object) -> bool:
    return isinstance(value, Flow)


def _there(module: ModuleType) -> str:
    names = sorted(_flows(module))
    return f"the flows there: {', '.join(names)}" if names else "there is no flow in it: put @flow above the function"
