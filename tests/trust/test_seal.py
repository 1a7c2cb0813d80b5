"""Sealed flows: the same content is the same object; nothing loads before it is verified; what does not load says where."""

from __future__ import annotations

import inspect
import linecache
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from playhead.errors import BadParameter, FlowLoadError, NoSuchObject, NotFound, TrustError, UsageError
from playhead.storage.memory import MemoryStorage
from playhead.trust.code import SEALED_MODULES, file_code, load_code, load_file, module_name, value_code
from playhead.trust.keys import MasterKey
from playhead.trust.payload import dump, dump_by_value, load
from playhead.trust.seal import (
    Code,
    FileCode,
    ModuleCode,
    ParameterKind,
    Seal,
    ValueCode,
    read_seal,
    signature_of,
    write_seal,
)

KEY = MasterKey(b"k" * 32).flow_key("etl")
MODULE = ModuleCode(module="json", qualname="dumps")


@pytest.fixture(autouse=True)
def _forget_sealed_modules() -> Generator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith(SEALED_MODULES)]:
        del sys.modules[name]


def _seal(code: Code = MODULE, **changed: Any) -> Seal:
    fields: dict[str, Any] = {
        "flow": "etl",
        "code": code,
        "executor": {"kind": "thread"},
        "run_config": {"kind": "local"},
    }
    return Seal(**{**fields, **changed})


def _file(source: str, qualname: str = "main", stem: str = "census") -> FileCode:
    return FileCode(source=textwrap.dedent(source).encode(), stem=stem, qualname=qualname)


class TestStored:
    @pytest.mark.parametrize(
        "code", [MODULE, _file("def main(): pass\n# \xff ü"), ValueCode(pickled=bytes(range(256)), python="3.11")]
    )
    def test_a_seal_reads_back(self, code: Code) -> None:
        def fn(a: int, /, b: str = "x", *rest: int, c: float = 1.5, **more: int) -> None: ...

        storage, seal = MemoryStorage(), _seal(code, signature=signature_of(fn), settings={"log_prints": True})
        seal_id = write_seal(storage, seal, KEY)
        assert read_seal(storage, "etl", seal_id, KEY) == seal
        assert storage.list("flows") == [f"flows/etl/{seal_id}"]

    def test_the_same_content_is_the_same_object(self) -> None:
        storage = MemoryStorage()
        ids = {write_seal(storage, _seal(), KEY) for _ in range(2)}
        ids.add(write_seal(storage, _seal(run_config={"kind": "local"}, executor={"kind": "thread"}), KEY))
        assert len(ids) == 1
        assert len(next(iter(ids))) == 32

    @pytest.mark.parametrize(
        "changed",
        [
            {"flow": "other"},
            {"code": ModuleCode(module="json", qualname="loads")},
            {"executor": {"kind": "process"}},
            {"run_config": {"kind": "local", "image": "evil"}},
            {"settings": {"x": 1}},
            {"signature": signature_of(print)},
        ],
    )
    def test_any_change_is_another_seal(self, changed: dict[str, Any]) -> None:
        assert _seal(**changed).id(KEY) != _seal().id(KEY)

    def test_the_id_tells_nothing_without_the_key(self) -> None:
        assert _seal().id(KEY) != _seal().id(MasterKey(b"x" * 32).flow_key("etl"))

    def test_a_seal_in_another_s_place_is_refused(self) -> None:
        storage = MemoryStorage()
        old, new = write_seal(storage, _seal(), KEY), write_seal(storage, _seal(executor={"kind": "process"}), KEY)
        planted = MemoryStorage()
        planted.create_if_absent(f"flows/etl/{new}", storage.read(f"flows/etl/{old}"))
        planted.create_if_absent(f"flows/other/{old}", storage.read(f"flows/etl/{old}"))
        with pytest.raises(TrustError, match=f"seal is '{old}' and not '{new}'"):
            read_seal(planted, "etl", new, KEY)
        with pytest.raises(TrustError, match="flow is 'etl' and not 'other'"):
            read_seal(planted, "other", old, KEY)
        with pytest.raises(TrustError, match="signed with the key"):
            read_seal(storage, "etl", old, MasterKey(b"x" * 32).flow_key("etl"))
        with pytest.raises(NoSuchObject):
            read_seal(planted, "etl", old, KEY)

    def test_what_was_planted_before_is_not_taken_for_ours(self) -> None:
        storage = MemoryStorage()
        storage.create_if_absent(f"flows/etl/{_seal().id(KEY)}", b"planted")
        with pytest.raises(TrustError):
            write_seal(storage, _seal(), KEY)

    def test_reading_runs_nothing(self) -> None:
        storage = MemoryStorage()
        seal_id = write_seal(storage, _seal(_file("raise SystemExit('ran')")), KEY)
        assert read_seal(storage, "etl", seal_id, KEY).code.kind == "file"

    @pytest.mark.parametrize("flow", ["../x", "a/b", "", ".."])
    def test_a_name_cannot_leave_the_folder(self, flow: str) -> None:
        with pytest.raises(UsageError):
            read_seal(MemoryStorage(), flow, "0" * 32, KEY)

    def test_a_newer_version_s_seal_is_named(self) -> None:
        content = _seal().signed_form().replace(b'"flow"', b'"flaw"')
        with pytest.raises(TrustError, match=r"another version.*flow"):
            Seal.from_signed_form(content, "the seal")


class TestSignature:
    def test_kinds_and_defaults(self) -> None:
        def fn(
            a: int, /, b: int, c: object = None, *rest: int, d: int, e: tuple[int, ...] = (1,), **more: int
        ) -> None: ...

        parameters = signature_of(fn)
        assert [each.name for each in parameters] == ["a", "b", "c", "rest", "d", "e", "more"]
        assert [each.required for each in parameters] == [True, True, False, False, True, False, False]
        assert [each.name for each in parameters if each.kind is ParameterKind.KEYWORD_ONLY] == ["d", "e"]
        assert [load(each.default) for each in parameters if each.default is not None] == [None, (1,)]

    def test_a_default_that_cannot_be_sent_is_named(self) -> None:
        lock = threading.Lock()

        def fn(lock: object = lock) -> None: ...

        with pytest.raises(BadParameter, match="'lock'"):
            signature_of(fn)


class TestFileCode:
    def test_it_runs_once_as_a_module_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        code = _file("import os\nos.environ['RUNS'] = os.environ.get('RUNS', '') + 'x'\ndef main(): return 7\n")
        monkeypatch.setenv("RUNS", "")
        assert load_code(_seal(code))() == 7
        assert load_code(_seal(code)) is load_code(_seal(code))
        assert os.environ["RUNS"] == "x"
        module = sys.modules[module_name(code)]
        assert module.__name__ != "__main__"
        assert module.main.__module__ == module.__name__

    def test_its_name_is_the_same_in_every_process(self) -> None:
        code = _file("class Row: pass\ndef main(): return Row()\n", stem="my flow-2")
        assert module_name(code).isidentifier()
        assert module_name(code) == module_name(_file("class Row: pass\ndef main(): return Row()\n", stem="my flow-2"))
        assert module_name(code) != module_name(_file("class Row: pass\ndef main(): return 1\n", stem="my flow-2"))
        data = dump(load_code(_seal(code))())
        del sys.modules[module_name(code)]
        load_file(code)
        assert type(load(data)) is sys.modules[module_name(code)].Row

    def test_workers_without_the_file_get_its_functions_by_value(self) -> None:
        fn = load_code(_seal(_file("OFFSET = 5\ndef main(x): return x + OFFSET\n")))
        out = subprocess.run(
            [sys.executable, "-c", "import sys, pickle; print(pickle.load(sys.stdin.buffer)(2))"],
            input=dump_by_value(fn), capture_output=True, check=True, timeout=30,
        ).stdout  # fmt: skip
        assert out.strip() == b"7"

    def test_tracebacks_and_inspect_show_its_source(self) -> None:
        fn = load_code(_seal(_file("def main():\n    raise KeyError('here')  # the line\n")))
        with pytest.raises(KeyError) as caught:
            fn()
        assert "# the line" in "".join(traceback.format_exception(caught.value))
        linecache.checkcache()
        assert "# the line" in inspect.getsource(fn)

    def test_dataclasses_and_annotations_work_in_it(self) -> None:
        source = """
            from __future__ import annotations
            from dataclasses import dataclass
            from typing import get_type_hints

            @dataclass
            class Row:
                n: int
                next: Row | None = None

            def main(row: Row) -> int:
                return row.n

            HINTS = get_type_hints(main)
        """
        module = load_file(_file(source))
        assert module.HINTS["row"] is module.Row

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("def main(:\n    pass\n", r"^census.py:1: .*def main"),
            ("x = 1\n    y = 2\n", r"^census.py:2: unexpected indent"),
            ("import no_such_module_here\n", r"^census.py:1 imports 'no_such_module_here', which is not installed"),
            ("from json import no_such_name\n", r"^census.py:1 raised ImportError .*no_such_name"),
            ("def f():\n    raise ValueError('bad')\n\nf()\n", r"^census.py:2 raised ValueError .*bad"),
            ("import sys\nsys.exit(4)\n", r"^census.py:2 raised SystemExit .*4"),
            (
                "\n\nfrom playhead.errors import UsageError\nraise UsageError('so', hint='thus')\n",
                r"^census.py:4 .*so(?s:.*)thus",
            ),
            ("x = '\x00'\n", r"^census.py"),
            ("# coding: no-such-codec\n", r"^census.py"),
        ],
    )
    def test_what_does_not_load_says_where(self, source: str, told: str) -> None:
        code = _file(source)
        with pytest.raises(FlowLoadError, match=told) as caught:
            load_code(_seal(code))
        assert caught.value.hint
        assert module_name(code) not in sys.modules

    def test_an_interrupt_is_not_an_error_of_the_flow(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            load_code(_seal(_file("raise KeyboardInterrupt\n")))

    def test_a_missing_flow_names_those_that_there_are(self) -> None:
        code = _file("def load(): pass\ndef transform(): pass\n_hidden = print\nnumber = 3\n")
        with pytest.raises(FlowLoadError, match=r"census.py has no flow 'main'(?s:.*)load, transform$"):
            load_code(_seal(code))
        with pytest.raises(FlowLoadError, match="there is no flow in it at all"):
            load_code(_seal(code), is_flow=lambda value: False)

    def test_a_file_is_read_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "census.py"
        path.write_bytes(b"def main(): pass\r\n")
        code = file_code(path, "main")
        assert (code.source, code.stem, code.qualname) == (b"def main(): pass\r\n", "census", "main")
        with pytest.raises(NotFound, match="flow file"):
            file_code(tmp_path / "none.py", "main")
        with pytest.raises(FlowLoadError, match="cannot read"):
            file_code(tmp_path, "main")


class TestModuleCode:
    def test_it_is_imported(self) -> None:
        import json

        assert load_code(_seal()) is json.dumps
        assert load_code(_seal(ModuleCode(module="json", qualname="JSONDecoder.decode"))) is json.JSONDecoder.decode

    @pytest.mark.parametrize(
        ("module", "source", "told"),
        [
            ("no_such_flow_module", None, "'no_such_flow_module' is not installed here"),
            ("json.no_such_part", None, "'json.no_such_part' is not installed here"),
            ("flow_needs", "import no_such_dependency\n", r"flow_needs.py:1\) imports 'no_such_dependency'"),
            ("flow_breaks", "\n1 / 0\n", r"flow_breaks.py:2\) raised ZeroDivisionError"),
            ("flow_syntax", "\ndef (\n", r"flow_syntax.py:2: invalid syntax"),
        ],
    )
    def test_what_does_not_import_says_why(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, source: str | None, told: str
    ) -> None:
        if source is not None:
            (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        with pytest.raises(FlowLoadError, match=told):
            load_code(_seal(ModuleCode(module=module, qualname="main")))


class TestValueCode:
    def test_it_loads_on_the_same_python(self) -> None:
        offset = 4
        code = value_code(lambda: offset + 1)
        assert load_code(_seal(code))() == 5
        assert code.python == f"3.{sys.version_info.minor}"

    def test_another_python_is_refused_before_loading(self) -> None:
        with pytest.raises(FlowLoadError, match=r"sealed by value on Python 3\.99, and this is Python 3\."):
            load_code(_seal(ValueCode(pickled=b"not even a pickle", python="3.99")))

    def test_what_does_not_load_or_pickle_is_told(self) -> None:
        here = f"3.{sys.version_info.minor}"
        with pytest.raises(FlowLoadError, match="flow etl does not load"):
            load_code(_seal(ValueCode(pickled=pickle.dumps(1)[:-2], python=here)))
        lock = threading.Lock()
        with pytest.raises(FlowLoadError, match="cannot be sealed by value"):
            value_code(lambda: lock)
