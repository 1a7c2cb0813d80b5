"""The docs hold together: links resolve, what is made from the code is up to date, programs parse and have no type errors."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.generated import generated_pages, renewed
from tests.docs.pages import DOCS, EXAMPLES, Command, all_pages, anchors, commands, links, programs, python_blocks
from tests.rooms import ROOT

DECISIONS = DOCS / "decisions"


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", all_pages(), ids=named)
def test_links_resolve(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", generated_pages(), ids=named)
def test_what_is_made_from_the_code_is_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == renewed(page), "run `.venv/bin/python -m tests.docs.generated`"


def test_some_pages_are_made_from_the_code() -> None:
    assert {named(page) for page in generated_pages()} == {
        "docs/ARCHITECTURE.md",
        "docs/decisions/README.md",
        "docs/guarantees.md",
        "docs/reference/cli.md",
        "docs/reference/contracts.md",
        "docs/reference/limits.md",
        "docs/reference/store-contract.md",
    }


@pytest.mark.parametrize("page", all_pages(), ids=named)
def test_programs_parse(page: Path) -> None:
    for block in python_blocks(page):
        ast.parse(block)


@pytest.mark.timeout(240)  # without a cache mypy reads every library once
def test_programs_and_examples_have_no_type_errors(tmp_path: Path) -> None:
    files = list(EXAMPLES.glob("*.py"))
    for page in all_pages():
        for name, text in programs(page).items():
            alone = f"{page.stem.lower().replace('-', '_')}_{name}"  # two pages may each have a check.py
            files.append(tmp_path / (Path(name).name if "/" in name else alone))  # of a package: others import it
            files[-1].write_text(text, encoding="utf-8")
    assert len(files) > len(list(EXAMPLES.glob("*.py"))), "no page has a program"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, files)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=230,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_program_is_the_one_whose_types_are_checked() -> None:
    checked = (ROOT / "tests" / "typing" / "readme.py").read_text(encoding="utf-8")
    assert programs(ROOT / "README.md")["words.py"] in checked


def test_the_commands_of_make_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in all_pages():
        text = page.read_text(encoding="utf-8")
        asked = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
        assert asked <= targets, f"{named(page)} names make targets that there are not"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme


def test_every_decision_is_in_the_index_and_has_a_number_of_its_own() -> None:
    records = {path.name for path in DECISIONS.glob("[0-9]*.md")}
    assert records == {link for link in links(DECISIONS / "README.md") if re.match(r"\d{4}-", link)}
    assert len({name[:4] for name in records}) == len(records)


def test_pages_that_the_code_names_exist() -> None:
    """Docstrings say `DURABILITY.md section 2`: whoever reads them finds the page, and the section in it."""
    for source in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")]:
        text = source.read_text(encoding="utf-8")
        for path in re.findall(r"\bdocs/[\w./-]+\.md\b", text):
            assert (ROOT / path).exists(), f"{named(source)} names {path}"
        for name, numbers in re.findall(r"\b(DURABILITY|BLIND)(?:\.md)?(?: sections?)?((?: (?:and )?\d)*)", text):
            headings = anchors(DOCS / f"{name}.md")
            for number in re.findall(r"\d", numbers):
                found = [heading for heading in headings if heading.startswith(f"{number}-")]
                assert found, f"{named(source)} names section {number} of {name}.md"


def test_what_a_command_prints_is_compared_line_by_line() -> None:
    """The reading of consoles itself: a promise that is not kept is found."""
    command = Command(Path(), "playhead show", ("words … succeeded", "count.2 … fetch.2"))
    assert command.missing_from("words  1f2e  succeeded\n  between\ncount.2   done  fetch.2  ") is None
    assert command.missing_from("count.2 done fetch.2\nwords 1f2e succeeded") == "count.2 … fetch.2"
    assert command.missing_from("words 1f2e failed") == "words … succeeded"
    readme = commands(ROOT / "README.md")
    assert len(readme) > 5
    assert all(each.line for each in readme)
