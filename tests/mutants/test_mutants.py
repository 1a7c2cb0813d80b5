"""The planting of bugs, on a small project made for it: what it finds, and each way in which a patch shows nothing."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from tests.mutants.__main__ import main
from tests.mutants.mutant import BadPatch, Mutant, all_mutants, chosen, read
from tests.mutants.trial import Verdict, tried
from tests.rooms import ROOT

SUM = """
def total(numbers):
    whole = 0
    for number in numbers:
        whole += number
    return whole
"""

TESTS = """
import subprocess, sys, time
from playhead.sums import total

def test_total():
    assert total([1, 2]) == 3

def test_total_in_another_process():
    code = "from playhead.sums import total; print(total([1, 2]))"
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "3\\n"

def test_nothing():
    pass

def test_that_fails():
    assert total([]) == 1
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of one function, with its tests; laid out as this project is."""
    root = tmp_path_factory.mktemp("project")
    files = {
        "engine/playhead/__init__.py": "",
        "engine/playhead/sums.py": SUM,
        "engine/playhead/testing/__init__.py": "",
        "engine/playhead/testing/plugin.py": "",  # the installed package names it as a plugin of pytest
        "tests/__init__.py": "",
        "tests/mutants/__init__.py": "",
        "tests/mutants/witness.py": (Path(__file__).parent / "witness.py").read_text(encoding="utf-8"),
        "tests/test_sums.py": TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p no:hypothesispytest -p no:asyncio'\ntimeout = 60\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def planted(
    folder: Path, old: str, new: str, *, test: str = "test_total", sees: str = "assert", more: str = ""
) -> Mutant:
    """A mutant that puts `new` in the place of `old`, which stands in the line behind `for number in numbers:`."""
    head = f"Promise: S1\nBug: one.\nTest: tests/test_sums.py::{test}\nSees: {sees}\n{more}"
    diff = f"""
        --- a/engine/playhead/sums.py
        +++ b/engine/playhead/sums.py
        @@ -4,3 +4,3 @@
             for number in numbers:
        -{old}
        +{new}
             return whole
        """
    path = folder / f"planted-{len(list(folder.iterdir()))}.patch"
    path.write_text(head + dedent(diff), encoding="utf-8")
    return read(path)


ADDS = "        whole += number"


@pytest.mark.real
def test_each_way_in_which_a_patch_shows_something_or_nothing(project: Path, tmp_path: Path) -> None:
    expected = {
        planted(tmp_path, ADDS, "        whole -= number"): (Verdict.SEEN, ""),
        planted(tmp_path, ADDS, "        whole -= number", test="test_total_in_another_process"): (Verdict.SEEN, ""),
        planted(tmp_path, ADDS, "        whole -= number", test="test_nothing"): (Verdict.FAILED, "stays green"),
        planted(tmp_path, ADDS, "        whole -= number", sees="a hat"): (Verdict.FAILED, "red for another reason"),
        planted(tmp_path, ADDS, "        whole -= number", test="test_that_fails"): (Verdict.FAILED, "without the bug"),
        planted(tmp_path, ADDS, "        whole -= number", test="test_gone"): (Verdict.FAILED, "did not run"),
        planted(tmp_path, ADDS, "        whole += numbr"): (Verdict.FAILED, "makes no program that runs"),
        planted(tmp_path, ADDS, "        whole +="): (Verdict.FAILED, "leaves what is no program"),
        planted(tmp_path, ADDS, f"{ADDS}  # a number"): (Verdict.FAILED, "changes nothing"),
        planted(tmp_path, "        whole *= number", ADDS): (Verdict.FAILED, "does not apply"),
        planted(tmp_path, ADDS, "        import time; time.sleep(60)", more="Options: --timeout 1\n"): (
            Verdict.FAILED,
            "ran out of time",
        ),
        planted(tmp_path, ADDS, "        import time; time.sleep(60)", sees="Timeout", more="Hangs: 1\n"): (
            Verdict.SEEN,
            "",
        ),
    }  # fmt: skip
    trials = {trial.mutant: trial for trial in tried(project, list(expected), processes=2)}
    assert set(trials) == set(expected)
    for mutant, (verdict, why) in expected.items():
        assert trials[mutant].verdict is verdict, trials[mutant]
        assert why in trials[mutant].why, trials[mutant]
    assert (project / "engine/playhead/sums.py").read_text(encoding="utf-8") == SUM


@pytest.mark.real
def test_a_copy_leaves_no_process_behind(project: Path, tmp_path: Path) -> None:
    starts = "        import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    mutant = planted(tmp_path, ADDS, starts)
    (trial,) = tried(project, [mutant], processes=1)
    assert trial.verdict is Verdict.SEEN, trial
    assert [process for process in psutil.process_iter() if "time.sleep(600)" in " ".join(_command(process))] == []


def test_what_is_no_patch_is_refused(tmp_path: Path) -> None:
    head = "Promise: S1\nBug: one.\nTest: tests/test_sums.py::test_total\nSees: assert\n"
    diff = "\n--- a/engine/playhead/sums.py\n+++ b/engine/playhead/sums.py\n@@ -1 +1 @@\n-a\n+b\n"
    wrong = {
        head: "holds no diff",
        head.replace("Bug: one.\n", "") + diff: "lacks, or does not know, Bug",
        head + "Colour: red\n" + diff: "lacks, or does not know, Colour",
        head + "what is this\n" + diff: "no field: 'what is this'",
        head + diff.replace("engine/", "tests/"): "a bug is planted in the product",
    }
    for text, why in wrong.items():
        (tmp_path / "it.patch").write_text(text, encoding="utf-8")
        with pytest.raises(BadPatch, match=why):
            read(tmp_path / "it.patch")


def test_bugs_are_chosen_by_name_and_by_promise(tmp_path: Path) -> None:
    mutants = all_mutants()
    assert chosen(mutants, []) == mutants
    assert {"S4"} <= {promise for mutant in chosen(mutants, ["S4"]) for promise in mutant.promises}
    assert [mutant.name for mutant in chosen(mutants, ["synchronous"])] == ["synchronous-normal"]
    assert main(["no such bug"]) == 2
    assert main(["--list", "synchronous"]) == 0


# --- those of the product -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_each_bug_can_be_planted_today(mutant: Mutant, tmp_path: Path) -> None:
    """`make mutants` sees whether its test finds it; this sees at once when the code around it has changed."""
    for name in mutant.changed_files():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    mutant.apply(tmp_path)
    assert names_a_test(mutant.test), f"{mutant.name} names {mutant.test}, which is not there"


def names_a_test(node_id: str) -> bool:
    """Whether a node id, but for its parameters, names a test in the source."""
    path, *names = node_id.partition("[")[0].split("::")
    if not (ROOT / path).is_file():
        return False
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    for name in names:
        found = [node for node in body if isinstance(node, _DEFINITIONS) and node.name == name]
        if not found:
            return False
        body = found[0].body
    return bool(names)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
