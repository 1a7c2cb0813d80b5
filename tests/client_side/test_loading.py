"""Targets: the forms that name a flow, and what is said of each that does not lead to one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from playhead.client.loading import is_target, load_target
from playhead.errors import FlowLoadError, NotFound, PlayheadError, UsageError
from tests.client_side.world import importable

ONE = "from playhead import flow\n@flow\ndef crawl(n: int = 1): return n\n"
TWO = ONE + "@flow\nasync def parse(): return 1\n"


def written(folder: Path, source: str, name: str = "etl.py") -> Path:
    file = folder / name
    file.write_text(source)
    return file


@pytest.mark.parametrize(
    ("source", "target", "name"),
    [
        (ONE, "{}", "crawl"),
        (ONE, "{}:crawl", "crawl"),
        (TWO, "{}:parse", "parse"),
        ("from playhead import flow\n@flow(name='other')\ndef crawl(): ...\n", "{}:crawl", "other"),
        (ONE + "same = crawl\n", "{}", "crawl"),
        ("from playhead import flow\nclass Flows:\n    @flow\n    def inner(): ...\n", "{}:Flows.inner", "inner"),
    ],
)
def test_a_flow_is_found_in_a_file(tmp_path: Path, source: str, target: str, name: str) -> None:
    assert load_target(target.format(written(tmp_path, source))).name == name


def test_a_flow_is_found_in_an_installed_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ONE, "loading_installed.py")
    importable(monkeypatch, tmp_path)
    assert load_target("loading_installed:crawl").name == "crawl"


def test_a_file_that_only_imports_flows_has_the_one_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, ONE, "loading_base.py")
    importable(monkeypatch, tmp_path)
    assert load_target(str(written(tmp_path, "from loading_base import crawl\n", "a.py"))).name == "crawl"
    both = written(tmp_path, f"from loading_base import crawl as base\n{ONE}", "b.py")
    assert load_target(str(both)).fn.__module__ != "loading_base"


BAD: dict[str, tuple[str, str, type[PlayheadError], tuple[str, ...]]] = {
    "no file": ("", "{}-gone.py:f", NotFound, ("etl.py-gone.py", "FILE.py:FLOW")),
    "a syntax error": ("def crawl(:\n", "{}:crawl", FlowLoadError, ("etl.py:1", "invalid syntax", "def crawl(:")),
    "a missing import": (f"{ONE}import not_there_at_all\n", "{}", FlowLoadError, ("etl.py:4 imports 'not_there_at_all'", "install")),
    "an error while loading": (f"{ONE}1 / 0\n", "{}", FlowLoadError, ("etl.py:4", "ZeroDivisionError", "division by zero")),
    "sys.exit while loading": ("import sys\nsys.exit(3)\n", "{}", FlowLoadError, ("etl.py:2", "SystemExit")),
    "a flow that is not there": (TWO, "{}:gone", FlowLoadError, ("etl.py has no flow 'gone'", "crawl, parse")),
    "several flows": (TWO, "{}", UsageError, ("several flows: crawl, parse", "etl.py:crawl")),
    "no flow": ("x = 1\n", "{}", FlowLoadError, ("there is no flow in etl.py", "@flow")),
    "what is no flow": (f"{ONE}def helper(): ...\n", "{}:helper", FlowLoadError, ("'helper' in etl.py is a function", "crawl")),
    "a hidden flow": (f"{ONE}@flow\ndef crawl(): ...\n", "{}", FlowLoadError, ("named 'crawl'", "line 3", "line 5", "rename")),
    "a hidden flow by another word": (
        "import playhead as p\n@p.flow(log_prints=True)\ndef crawl(): ...\n@p.flow\nasync def crawl(): ...\n",
        "{}:crawl", FlowLoadError, ("line 3", "line 5"),
    ),
    "two flows of one name": (
        f"{ONE}@flow(name='crawl')\ndef other(): ...\n", "{}:other", FlowLoadError,
        ("two flows named 'crawl': crawl and other", "another name"),
    ),
    "a flow with *args": ("from playhead import flow\n@flow\ndef f(*a): ...\n", "{}", FlowLoadError, ("*a", "no name of its own")),
    "an unknown time zone in code": (
        "from playhead import flow, Cron\n@flow(schedule=Cron())\ndef f(): ...\n", "{}", FlowLoadError, ("etl.py:2", "TypeError"),
    ),
    "bytes that are no source": ("\0", "{}", FlowLoadError, ("etl.py", "null bytes")),
    "a module that is not there": ("", "no_such_module_at_all:f", FlowLoadError, ("'no_such_module_at_all' is not installed",)),
    "a part of a module that is not there": ("", "json.gone:f", FlowLoadError, ("'json.gone' is not installed",)),
    "a name only": ("", "census", UsageError, ("'census' names no flow's code", "FILE.py:FLOW")),
    "no flow's name": ("", "json:", UsageError, ("'json:' names no flow's code",)),
    "no module's name": ("", "a b:f", UsageError, ("'a b:f' names no flow's code",)),
    "nothing": ("", "", UsageError, ("names no flow's code",)),
}  # fmt: skip


@pytest.mark.parametrize(("source", "target", "kind", "told"), BAD.values(), ids=BAD.keys())
def test_what_leads_to_no_flow_says_why_and_where(
    tmp_path: Path, source: str, target: str, kind: type[PlayheadError], told: tuple[str, ...]
) -> None:
    with pytest.raises(PlayheadError) as caught:
        load_target(target.format(written(tmp_path, source)))
    assert type(caught.value) is kind
    for words in told:
        assert words in str(caught.value)
    assert caught.value.hint


def test_a_module_that_is_a_file_here_is_told_how_to_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ONE, "loading_beside.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FlowLoadError, match=r"write loading_beside\.py:FLOW"):
        load_target("loading_beside:crawl")


def test_a_file_is_loaded_away_from_the_files_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "x = 1\n", "loading_helper.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FlowLoadError, match=r"etl.py:1 imports 'loading_helper'"):
        load_target(os.path.relpath(written(tmp_path, f"import loading_helper\n{ONE}")))


@pytest.mark.parametrize(
    ("text", "code"), [("census", False), ("a.b", False), ("etl.py", True), ("m:f", True), ("./x", True)]
)
def test_a_target_is_told_from_a_registered_name(text: str, code: bool) -> None:
    assert is_target(text) is code
