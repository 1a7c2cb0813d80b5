"""A flow's code as it will be sealed: by module, by file or by value. Owns that choice; writes nothing.

By file what was loaded from a file, as a target or as the program itself; by module what any interpreter here can import; a lone
file that only this program finds goes by file too; everything else by value.
"""

from __future__ import annotations

import site
import sys
import sysconfig
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, assert_never

from playhead.core.events import SealedBy
from playhead.errors import FlowLoadError
from playhead.flows.flow import Flow
from playhead.trust.code import adopt, file_code, sealed_code, value_code
from playhead.trust.seal import Code, FileCode, ModuleCode, ValueCode

if TYPE_CHECKING:  # cloudpickle has no types

    def register_pickle_by_value(module: ModuleType) -> None: ...
    def unregister_pickle_by_value(module: ModuleType) -> None: ...
    def list_registry_pickle_by_value() -> set[str]: ...

else:
    from cloudpickle import register_pickle_by_value, unregister_pickle_by_value
    from cloudpickle.cloudpickle import list_registry_pickle_by_value

_by_value_lock = threading.Lock()  # what cloudpickle takes by value is one list for the whole process


def code_of(flow: Flow[..., Any], sealed_by: SealedBy | None = None) -> Code:
    """The flow's code. `sealed_by` None: as the module says. FlowLoadError: it cannot be sealed so."""
    match sealed_by or _default(flow):
        case SealedBy.MODULE:
            return _by_module(flow)
        case SealedBy.FILE:
            return _by_file(flow)
        case SealedBy.VALUE:
            return _by_value(flow)
        case _ as never:
            assert_never(never)


def kind_of(code: Code) -> SealedBy:
    return SealedBy(code.kind)


def _default(flow: Flow[..., Any]) -> SealedBy:
    module = _module_of(flow)
    if module is None or _qualname(module, flow) is None:
        return SealedBy.VALUE
    if sealed_code(module.__name__) is not None:
        return SealedBy.FILE
    if is_installed(module):
        return SealedBy.MODULE
    return SealedBy.FILE if _source(module) is not None and not _in_package(module) else SealedBy.VALUE


def _by_module(flow: Flow[..., Any]) -> ModuleCode:
    module = _module_of(flow)
    name = None if module is None else _import_name(module)
    qualname = None if module is None else _qualname(module, flow)
    if name is None or qualname is None or (module is not None and sealed_code(module.__name__) is not None):
        raise FlowLoadError(
            f"flow {flow.name} cannot be sealed by module: no module that can be imported has it",
            hint="name it as module:FLOW, with the module installed where the flow will run; or seal it by file",
        )
    return ModuleCode(module=name, qualname=qualname)


def _by_file(flow: Flow[..., Any]) -> FileCode:
    module = _module_of(flow)
    qualname = None if module is None else _qualname(module, flow)
    if module is not None and qualname is not None:
        loaded = sealed_code(module.__name__)
        if loaded is not None:
            return loaded.model_copy(update={"qualname": qualname})
        source = _source(module)
        if source is not None:
            code = file_code(source, qualname)
            adopt(module, code)
            return code
    raise FlowLoadError(
        f"flow {flow.name} cannot be sealed by file: it is not at the top level of a .py file",
        hint="move it to the top level of a file, or seal it by value",
    )


def _by_value(flow: Flow[..., Any]) -> ValueCode:
    with taken_by_value(_module_of(flow)):
        return value_code(flow)


@contextmanager
def taken_by_value(module: ModuleType | None) -> Generator[None]:
    """In the block pickles take along what the module defines, unless a runner can import it."""
    with _by_value_lock:
        known = {"__main__", *list_registry_pickle_by_value()}
        if module is None or module.__name__ in known or is_installed(module):
            yield
            return
        register_pickle_by_value(module)
        try:
            yield
        finally:
            unregister_pickle_by_value(module)


def is_installed(module: ModuleType) -> bool:
    """Whether a fresh interpreter of this environment, started anywhere, imports this very file under this name."""
    name, file = _import_name(module), getattr(module, "__file__", None)
    if name is None:
        return False
    if file is None:
        return name in sys.builtin_module_names
    below = Path(*name.split("."))
    wanted = Path(file).resolve()
    candidates = (
        entry / form for entry in _lasting_path() for form in (below.with_suffix(".py"), below / "__init__.py")
    )
    return any(candidate.resolve() == wanted for candidate in candidates) or _is_editable(name, wanted)


@cache
def _lasting_path() -> tuple[Path, ...]:
    """The folders that every interpreter of this environment searches: not the program's own, nor those that it added."""
    paths = sysconfig.get_paths()
    sites = [Path(each) for each in (*site.getsitepackages(), paths["purelib"], paths["platlib"])]
    if site.ENABLE_USER_SITE:
        sites.append(Path(site.getusersitepackages()))
    added = [folder for each in dict.fromkeys(sites) for folder in _added_by_pth(each)]
    return tuple(dict.fromkeys([Path(paths["stdlib"]), Path(paths["platstdlib"]), *sites, *added]))


def _added_by_pth(folder: Path) -> Iterator[Path]:
    """The folders that a site folder's .pth files add: that is how most editable installs work."""
    for file in sorted(folder.glob("*.pth")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                yield folder / line.strip()


def _is_editable(name: str, file: Path) -> bool:
    """Whether an editable install's own finder, as setuptools writes them, finds that file."""
    for finder in sys.meta_path:
        if getattr(finder, "__module__", "").startswith("__editable__"):
            spec = finder.find_spec(name, None)
            if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file:
                return True
    return False


def _module_of(flow: Flow[..., Any]) -> ModuleType | None:
    return sys.modules.get(flow.fn.__module__)


def _import_name(module: ModuleType) -> str | None:
    """The name under which others can import it; None for a program's own file."""
    if module.__name__ != "__main__":
        return module.__name__
    spec: ModuleSpec | None = module.__spec__
    name: str | None = spec.name if spec is not None else None  # `python -m name`
    return name


def _in_package(module: ModuleType) -> bool:
    return bool(module.__package__)


def _source(module: ModuleType) -> Path | None:
    file: str | None = getattr(module, "__file__", None)
    path = Path(file) if file is not None and file.endswith(".py") else None
    return path if path is not None and path.is_file() else None


def _qualname(module: ModuleType, flow: Flow[..., Any]) -> str | None:
    """Under which name the module has the flow; None: under none, as it was made in a function or bound nowhere."""
    found: Any = module
    qualname: str = flow.fn.__qualname__
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if found is flow:
        return qualname
    return next((name for name, value in vars(module).items() if value is flow), None)
