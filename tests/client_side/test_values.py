"""Parameters of a program's own classes: the runner, which is another process, knows them by the classes of its own flow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from playhead.client.loading import load_target
from playhead.client.sealing import code_of
from playhead.client.values import dump_parameters
from playhead.core.events import SealedBy
from playhead.trust.code import load_file, member, module_name
from playhead.trust.payload import load
from playhead.trust.seal import FileCode, Seal
from tests.client_side.world import importable

SOURCE = """
from dataclasses import dataclass
from enum import Enum
from playhead import flow
class Kind(Enum):
    A = 1
@dataclass
class Item:
    kind: Kind
def helper(): ...
@flow
def crawl(item: Item, call=helper):
    assert isinstance(item, Item) and item.kind is Kind.A and call.__name__ == "helper"
"""
RUNNER = """
import sys
from playhead.trust.code import load_code
from playhead.trust.payload import load
from playhead.trust.seal import Seal
seal = Seal.from_signed_form(bytes.fromhex(sys.argv[1]), "the seal")
flow = load_code(seal)
flow.fn(**load(bytes.fromhex(sys.argv[2])))
"""


def module_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """A module that this program has imported, as a program imports the file beside it."""
    (folder / f"{name}.py").write_text(SOURCE)
    importable(monkeypatch, folder)
    load_target(f"{name}:crawl")
    return sys.modules[name]


@pytest.mark.parametrize("sealed_by", [SealedBy.FILE, SealedBy.VALUE])
def test_they_are_of_the_flow_s_own_classes_in_a_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed_by: SealedBy
) -> None:
    module = module_in(tmp_path, monkeypatch, f"values_{sealed_by.value}")
    values = {"item": module.Item(module.Kind.A), "call": module.helper}
    code = code_of(module.crawl, sealed_by)
    payload = dump_parameters(values, code, module.crawl)
    seal = Seal(flow="crawl", code=code, executor={}, run_config={})
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, seal.signed_form().hex(), payload.hex()],
        cwd="/", capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0


def test_what_a_runner_sends_back_is_of_the_program_s_own_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_in(tmp_path, monkeypatch, "values_back")
    code = code_of(module.crawl)
    assert isinstance(code, FileCode)
    assert load_file(code) is module
    back = load(dump_parameters({"item": module.Item(module.Kind.A)}, code, module.crawl))
    assert type(back["item"]) is module.Item
    assert member(module_name(code), "Item") is module.Item
