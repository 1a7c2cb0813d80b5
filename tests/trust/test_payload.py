"""Values and failures as bytes: what reads back, what is said when it does not, and how large it was."""

from __future__ import annotations

import copyreg
import importlib
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.errors import BadParameter, TaskTimedOut, UnloadableOutcome
from playhead.trust.failure import MAX_TEXT, dump_failure, failure_text, load_failure
from playhead.trust.payload import check_serialisable, dump, load, size_class

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@dataclass
class Holder:
    name: str
    inner: Any


class Unreadable:
    """Pickles, and does not read back."""

    def __reduce__(self) -> tuple[object, ...]:
        return (int, ("not a number",))


@dataclass
class Column:
    """Hands on its memory as arrays do (PEP 574)."""

    data: bytearray

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        return (Column, (pickle.PickleBuffer(self.data),))


class TestValues:
    @given(values)
    def test_they_read_back(self, value: object) -> None:
        assert load(dump(value)) == value

    @pytest.mark.parametrize("size", [65_535, 65_536, 1_000_000])
    def test_large_ones_read_back(self, size: int) -> None:
        for value in (bytes(size), bytearray(size), "x" * size, Column(bytearray(size))):
            assert load(dump([value, 1, value])) == [value, 1, value]

    def test_what_cannot_be_imported_goes_by_value(self) -> None:
        class Local:
            number = 3

        assert load(dump(Local())).number == 3
        assert load(dump(lambda: Local.number + 1))() == 4

    @pytest.mark.parametrize(
        "before",
        [
            "None",
            "[b'x' * 1_000_000, bytearray(1_000_000), 'x' * 1_000_000]",
            "[str(n) * 2_000 for n in range(1_000)]",
            "[x * 65_535 for x in 'abcdefgh']",
        ],
    )
    def test_a_class_of_main_reads_back_in_another_process(self, tmp_path: Path, before: str) -> None:
        """Whatever of the value comes before it."""
        writer = tmp_path / "writer.py"
        writer.write_text(
            "import sys\nfrom playhead.trust.payload import dump\n"
            "class Point:\n    def __init__(self, x): self.x = x\n"
            f"open(sys.argv[1], 'wb').write(dump({{'before': {before}, 'p': Point(7)}}))\n"
        )
        subprocess.run([sys.executable, str(writer), str(tmp_path / "out")], check=True, timeout=30)
        assert load((tmp_path / "out").read_bytes())["p"].x == 7

    @pytest.mark.parametrize(
        ("value", "where"),
        [
            (threading.Lock(), "value is a _thread.lock"),
            ({"rows": [1, {"lock": threading.Lock()}]}, r"value\['rows'\]\[1\]\['lock'\] is a _thread.lock"),
            (Holder("x", (0, threading.Lock())), r"value.inner\[1\] is a _thread.lock"),
            ([Holder("x", {threading.Lock()})], r"value\[0\].inner\{…\} is a _thread.lock"),
        ],
    )
    def test_the_part_that_cannot_be_pickled_is_named(self, value: object, where: str) -> None:
        with pytest.raises(UnloadableOutcome, match=where):
            dump(value)

    def test_the_search_for_it_is_bounded(self) -> None:
        nested: object = threading.Lock()
        for _ in range(100):
            nested = [nested]
        with pytest.raises(UnloadableOutcome, match=r"value(\[0\]){20} "):
            dump(nested)

    def test_what_does_not_load_says_why(self) -> None:
        with pytest.raises(UnloadableOutcome, match="ValueError: invalid literal"):
            load(dump(Unreadable()))
        with pytest.raises(UnloadableOutcome, match="install what provides 'no_such_module_here'"):
            load(b"cno_such_module_here\nThing\n.")
        with pytest.raises(UnloadableOutcome, match="moved, renamed or changed"):
            load(b"cplayhead.errors\nThing\n.")

    def test_a_parameter_is_tried_both_ways(self) -> None:
        assert load(check_serialisable("n", {"a": 1})) == {"a": 1}
        with pytest.raises(BadParameter, match=r"'lock'.*value is a _thread.lock"):
            check_serialisable("lock", threading.Lock())
        with pytest.raises(BadParameter, match="'odd'"):
            check_serialisable("odd", Unreadable())


@given(st.integers(0, 2**80))
def test_a_size_class_is_the_smallest_power_of_four(n: int) -> None:
    k = size_class(n)
    assert n <= 4**k
    assert k == 0 or n > 4 ** (k - 1)


class Demanding(Exception):
    """Its constructor takes other arguments than it hands on: pickle alone cannot read it back."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"failed with {code}")
        self.code = code
        self.reason = reason


class Doubling(Exception):
    """Read back by its constructor it would have another text, without any error."""

    def __init__(self, text: str) -> None:
        super().__init__(f"so: {text}")


class Holding(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Lying(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return (str, ("not an exception",))


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Leaving(SystemExit):
    def __init__(self, code: int) -> None:
        super().__init__(code + 1)


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


class TestFailures:
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("x"),
            KeyError("k"),
            Demanding(3, reason="why"),
            Doubling("text"),
            FileNotFoundError(2, "No such file", "/somewhere"),
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
            StopIteration(4),
            SystemExit(3),
            Leaving(3),
            KeyboardInterrupt(),
            TaskTimedOut("late", task_key="parse.1", hint="wait"),
        ],
    )
    def test_an_exception_reads_back_as_it_was(self, error: BaseException) -> None:
        failure = load_failure(dump_failure(_raised(error)))
        back = failure.exception
        assert type(back) is type(error)
        assert back.args == error.args
        assert str(back) == str(error) == failure.text
        assert {key: value for key, value in vars(back).items() if key != "__notes__"} == vars(error)
        for name in ("code", "errno", "filename", "value", "start"):
            assert getattr(back, name, None) == getattr(error, name, None)
        assert type(error).__name__ in failure.type_name
        assert type(error).__name__ in failure.traceback
        assert "in _raised" in failure.traceback

    def test_causes_context_and_notes_are_kept(self) -> None:
        def fail() -> None:
            try:
                try:
                    raise KeyError("first")
                except KeyError as first:
                    raise Demanding(2, reason="second") from first
            except Demanding as second:
                second.add_note("seen")
                raise ValueError("third")

        with pytest.raises(ValueError, match="third") as caught:
            fail()
        back = load_failure(dump_failure(caught.value)).exception
        second = back.__context__
        assert isinstance(second, Demanding)
        assert back.__cause__ is None
        assert second.reason == "second"
        assert second.__notes__ == ["seen"]
        assert isinstance(second.__cause__, KeyError)
        assert second.__suppress_context__
        assert second.__cause__ is second.__context__

    def test_groups_keep_their_members_and_those_their_causes(self) -> None:
        member = Demanding(1, reason="x")
        member.__cause__ = KeyError("k")
        back = load_failure(dump_failure(ExceptionGroup("both", [member, ValueError("v")]))).exception
        first = cast("ExceptionGroup[Exception]", back).exceptions[0]
        assert type(back) is ExceptionGroup
        assert isinstance(first, Demanding)
        assert isinstance(first.__cause__, KeyError)

    def test_a_circle_of_contexts_ends(self) -> None:
        one, other = ValueError("one"), ValueError("other")
        one.__context__, other.__context__ = other, one
        back = load_failure(dump_failure(one)).exception
        assert back.__context__ is not None
        assert back.__context__.__context__ is back

    @pytest.mark.parametrize("error", [Holding("kept text"), Lying("kept text")])
    def test_what_cannot_be_kept_is_replaced_by_its_text(self, error: Exception) -> None:
        failure = load_failure(dump_failure(_raised(error)))
        assert isinstance(failure.exception, UnloadableOutcome)
        assert f"{type(error).__name__}: kept text" in failure.exception.message
        assert "in _raised" in failure.traceback

    @pytest.mark.parametrize(
        "error", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), StopIteration(4), SystemExit(3)]
    )
    def test_what_a_library_registers_for_all_exceptions_changes_none(
        self, error: BaseException, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As tblib does where Dask is imported: what it makes has the arguments, and was not told of them."""

        def as_tblib(exception: BaseException) -> Any:
            return type(exception).__new__, (type(exception), *exception.args)

        monkeypatch.setitem(copyreg.dispatch_table, type(error), as_tblib)
        back = load_failure(dump_failure(error)).exception
        assert (str(back), repr(back)) == (str(error), repr(error))
        assert getattr(back, "value", None) == getattr(error, "value", None)
        assert getattr(back, "code", None) == getattr(error, "code", None)

    def test_one_bad_link_does_not_cost_the_chain(self) -> None:
        error = ValueError("outer")
        error.__cause__ = Holding("inner")
        error.__cause__.__cause__ = Demanding(1, reason="innermost")
        back = load_failure(dump_failure(error)).exception
        assert isinstance(back, ValueError)
        assert isinstance(back.__cause__, UnloadableOutcome)
        assert isinstance(back.__cause__.__cause__, Demanding)

    def test_an_exception_whose_class_is_not_here_is_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "passing_module.py").write_text("class Passing(Exception): pass\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        data = dump_failure(importlib.import_module("passing_module").Passing("gone"))
        (tmp_path / "passing_module.py").unlink()
        monkeypatch.delitem(sys.modules, "passing_module")
        failure = load_failure(data)
        assert isinstance(failure.exception, UnloadableOutcome)
        assert "passing_module.Passing: gone" in failure.exception.message
        assert "install what provides 'passing_module'" in str(failure.exception.__cause__)

    def test_the_text_is_read_without_unpickling(self) -> None:
        data = dump_failure(ValueError("told"))
        head_only = data[: 4 + int.from_bytes(data[:4], "big")] + b"no pickle at all"
        assert failure_text(head_only).text == "told"
        assert isinstance(load_failure(head_only).exception, UnloadableOutcome)

    def test_a_broken_text_does_not_hide_the_failure(self) -> None:
        failure = load_failure(dump_failure(Mute()))
        assert failure.type_name.endswith("Mute")
        assert "RuntimeError" in failure.text

    def test_texts_are_bounded_and_always_utf_8(self) -> None:
        failure = load_failure(dump_failure(ValueError("\ud800" + "x" * (2 * MAX_TEXT))))
        assert len(failure.text) < MAX_TEXT + 100
        assert "left out" in failure.text
        assert failure.text.startswith("\\ud800")


def test_a_dataclass_that_travels_by_value_keeps_its_fields(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import dataclasses\nfrom playhead.trust.payload import dump, load\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "assert load(dump(Point(7))) == Point(7)\n"
        "assert dataclasses.fields(Point)[0].default is dataclasses.MISSING\n"
    )
    subprocess.run([sys.executable, str(program)], check=True, timeout=30)
