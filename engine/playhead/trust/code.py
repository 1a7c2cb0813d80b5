"""From a flow to its sealed code, and from verified sealed code back to the flow. Owns how code is made to run.

A file's code runs as a module of its own, whose name follows from its content: it is the same in every process, so that what
was pickled by reference to it loads in the next runner. `load_code` runs what was sealed, so it takes a `Seal`, which
`read_seal` has verified.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import linecache
import re
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from importlib.abc import InspectLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, assert_never

from playhead.errors import FlowLoadError, NotFound, PlayheadError, UnloadableOutcome
from playhead.trust.payload import dump_by_value, load
from playhead.trust.seal import FileCode, ModuleCode, Seal, ValueCode

if TYPE_CHECKING:  # cloudpickle has no types

    def register_pickle_by_value(module: ModuleType) -> None: ...

else:
    from cloudpickle import register_pickle_by_value

SEALED_MODULES: Final = "playhead_sealed_"  # begins the name of each module that was made of a sealed file
MAX_SOURCE_BYTES: Final = 8 * 1024 * 1024  # of a flow's file: more is data that was put into the wrong place

_MACHINERY = frozenset((__file__, importlib.__file__, contextlib.__file__))  # frames that are in no user's code
_loading = threading.RLock()


def load_code(seal: Seal, *, is_flow: Callable[[object], bool] = callable) -> Any:
    """What was sealed: the object that the code names. `is_flow` picks what is listed when it is not there.

    FlowLoadError: the code does not load here; the message says where and why.
    """
    match seal.code:
        case ModuleCode(module=module, qualname=qualname):
            return named_in(load_module(module), module, qualname, is_flow)
        case FileCode(stem=stem, qualname=qualname):
            return named_in(load_file(seal.code), f"{stem}.py", qualname, is_flow)
        case ValueCode(pickled=pickled, python=python):
            return _by_value(seal.flow, pickled, python)
        case _:
            assert_never(seal.code)


def load_file(code: FileCode) -> ModuleType:
    """The module that the file's code makes; run once in a process. FlowLoadError: it does not run to its end."""
    name = module_name(code)
    with _loading:
        if name in sys.modules:
            return sys.modules[name]
        loader = _SealedLoader(code)
        spec = importlib.util.spec_from_loader(name, loader, origin=loader.filename)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            with _told_as(f"{code.stem}.py"):
                loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        register_pickle_by_value(module)  # workers in other processes have no such file to import
        return module


def load_module(module: str) -> ModuleType:
    """The installed module of that name. FlowLoadError: it is not installed here, or does not run to its end."""
    with _told_as(f"module {module}"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise FlowLoadError(
                f"the flow's module {module!r} is not installed here",
                hint="a flow sealed by module runs only where it can be imported: install it there, or seal the flow by file",
            ) from error


def named_in(module: ModuleType, where: str, qualname: str, is_flow: Callable[[object], bool]) -> Any:
    """What the module has under that name. FlowLoadError: nothing; it lists what there is."""
    found: Any = module
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            names = sorted(name for name, value in vars(module).items() if name[0] != "_" and is_flow(value))
            there = f"the flows there: {', '.join(names)}" if names else "there is no flow in it at all"
            raise FlowLoadError(f"{where} has no flow {qualname!r}", hint=there) from None
    return found


def module_name(code: FileCode) -> str:
    """The name that the file's module has wherever it is loaded."""
    readable = re.sub(r"\W", "_", code.stem)
    return f"{SEALED_MODULES}{readable}_{hashlib.sha256(code.source).hexdigest()[:12]}"


def sealed_code(module: str) -> FileCode | None:
    """The file that the loaded module of that name was made of; None if it was not made of a sealed file."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    loader = getattr(spec, "loader", None)
    return loader.code if isinstance(loader, _SealedLoader) else None


def adopt(module: ModuleType, code: FileCode) -> None:
    """Let this program's own module, whose file was sealed, count as the sealed one: what runners send back is of its classes."""
    sys.modules.setdefault(module_name(code), module)


def member(module: str, qualname: str) -> Any:
    """What a loaded or installed module has under that name: how pickles refer to what a sealed file defines."""
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def file_code(path: Path, qualname: str) -> FileCode:
    """The file as code to seal. NotFound: there is no such file. FlowLoadError: it cannot be read."""
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise NotFound("flow file", str(path), hint="give the path of a .py file, as FILE.py:FLOW") from None
    except OSError as error:
        raise FlowLoadError(f"cannot read {path}: {error.strerror}", hint="give the path of a .py file") from error
    if len(source) > MAX_SOURCE_BYTES:
        raise FlowLoadError(
            f"{path} has {len(source)} bytes of code, more than can be sealed", hint="keep data in files of its own"
        )
    return FileCode(source=source, stem=path.stem, qualname=qualname)


def value_code(flow: object) -> ValueCode:
    """The object itself as code to seal. FlowLoadError: it cannot be pickled."""
    try:
        pickled = dump_by_value(flow)
    except Exception as error:
        raise FlowLoadError(
            f"the flow cannot be sealed by value: {type(error).__name__}: {error}",
            hint="put it into a file or an importable module; or open what it refers to inside its tasks",
        ) from error
    return ValueCode(pickled=pickled, python=_python_minor())


class _SealedLoader(InspectLoader):
    """Gives the import system, tracebacks and `inspect` the source that was sealed."""

    def __init__(self, code: FileCode) -> None:
        self.code = code
        self.filename = f"<sealed {code.stem}.py {hashlib.sha256(code.source).hexdigest()[:12]}>"

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.code.source)

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_source(fullname)
        linecache.cache[self.filename] = (len(source), None, source.splitlines(keepends=True), self.filename)
        return compile(source, self.filename, "exec", dont_inherit=True)


def _by_value(flow: str, pickled: bytes, python: str) -> Any:
    if python != _python_minor():
        raise FlowLoadError(
            f"flow {flow} was sealed by value on Python {python}, and this is Python {_python_minor()}",
            hint=f"run it on Python {python}, or seal it by file or module, which any version loads",
        )
    try:
        return load(pickled)
    except UnloadableOutcome as error:
        raise FlowLoadError(f"flow {flow} does not load: {error.message}", hint=error.hint) from error


@contextlib.contextmanager
def _told_as(where: str) -> Generator[None]:
    """Whatever running the user's module raises, as an error that says where in the user's own code it was."""
    try:
        yield
    except FlowLoadError:
        raise
    except SyntaxError as error:
        place = _shown(error.filename or where)
        text = f": {error.text.strip()}" if error.text else ""
        raise FlowLoadError(
            f"{place}:{error.lineno}: {error.msg}{text}",
            hint=f"mend the syntax, or run it on the Python that it was written for (this is {_python_minor()})",
        ) from error
    except ModuleNotFoundError as error:
        raise FlowLoadError(
            f"{_place_in(where, error)} imports {error.name!r}, which is not installed here",
            hint="install it where the flow runs; a flow sealed by file cannot import the files beside it, seal it by module then",
        ) from error
    except (Exception, SystemExit) as error:
        told = error.message if isinstance(error, PlayheadError) else str(error)
        hint = error.hint if isinstance(error, PlayheadError) else None
        raise FlowLoadError(
            f"{_place_in(where, error)} raised {type(error).__name__} while it was loaded: {told}",
            hint=hint or "keep a module's top level free of work: put it into tasks",
        ) from error


def _place_in(where: str, error: BaseException) -> str:
    """File and line of the innermost frame that is in the sealed file, else of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    sealed = [frame for frame in frames if frame.filename.startswith("<sealed ")]
    if sealed:
        return f"{_shown(sealed[-1].filename)}:{sealed[-1].lineno}"
    theirs = [
        frame for frame in frames if not frame.filename.startswith("<frozen ") and frame.filename not in _MACHINERY
    ]
    return f"{where} ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else where


def _shown(filename: str) -> str:
    return filename.removeprefix("<sealed ").rpartition(" ")[0] if filename.startswith("<sealed ") else filename


def _python_minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
