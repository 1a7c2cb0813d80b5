"""The pages of the docs as tests read them: their links, their programs, their commands and what these print. Runs none of it.

A program is a block of Python below a line that names its file; other files of a page, such as `pyproject.toml`, are written so too. In a
block of the kind `console` a line after `$ ` is a command, and the lines below it are what it prints: in this order, perhaps with other
lines between, with anything in the place of `…`, and with other times and other workers where a step tells these.
A block of the kind `text` is written alike where it takes more than a reader may have: a test that has it makes the same run, and compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.rooms import ROOT

DOCS: Final = ROOT / "docs"
EXAMPLES: Final = DOCS / "examples"

_BLOCK: Final = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE: Final = re.compile(
    r"`(?P<name>[\w/-]+\.(?:py|toml))`[^\n]*:\n\n```(?:python|toml)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_VARIES: Final = re.compile(r"…|\+\d[\d.]*s|(?<= on )workers? \S+(?:, \S+)*$")  # from run to run
_LINK: Final = re.compile(r"\[[^\]]*\]\((?P<to>[^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page, what the page says that it prints, and the code that it ends with."""

    page: Path
    line: str
    printed: tuple[str, ...]
    code: int = 0

    def missing_from(self, output: str) -> str | None:
        """The first promised line that the output does not hold, or None."""
        rest = [_squeezed(line) for line in output.splitlines()]
        for promised in self.printed:
            pattern = ".*".join(re.escape(piece.strip()) for piece in _VARIES.split(_squeezed(promised)))
            at = next((index for index, line in enumerate(rest) if re.search(pattern, line)), None)
            if at is None:
                return promised
            rest = rest[at + 1 :]
        return None


def all_pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def programs(page: Path) -> dict[str, str]:
    """The programs of a page by the name of their file."""
    return {name: text for name, text in files(page).items() if name.endswith(".py")}


def files(page: Path) -> dict[str, str]:
    """All that a page says to write into a file, by the file's name; it may be in a folder."""
    return {found["name"]: found["text"] for found in _FILE.finditer(_text(page))}


def python_blocks(page: Path) -> list[str]:
    return [block["text"] for block in _BLOCK.finditer(_text(page)) if block["kind"] == "python"]


def commands(page: Path) -> list[Command]:
    """The commands of a page, in order. `# exit code N` behind a command is its code."""
    return [
        command
        for block in _BLOCK.finditer(_text(page))
        if block["kind"] == "console"
        for command in _commands(page, block["text"])
    ]


def transcript(page: Path, heading: str) -> list[Command]:
    """The commands of the blocks of kind `text` below this heading of the second level, in order."""
    _, found, rest = _text(page).partition(f"\n## {heading}\n")
    assert found, f"{page} has no section {heading!r}"
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = [block["text"] for block in _BLOCK.finditer(section) if block["kind"] == "text"]
    return [command for text in blocks for command in _commands(page, text)]


def links(page: Path) -> list[str]:
    """Where the page's links lead, but for those outside of the project."""
    without_code = _BLOCK.sub("", _text(page))
    return [link["to"] for link in _LINK.finditer(without_code) if not re.match(r"https?://", link["to"])]


def anchors(page: Path) -> set[str]:
    """The names of the page's headings, as links write them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(_text(page))}


def _commands(page: Path, block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        first, *printed = part.rstrip("\n").split("\n")
        line, _, code = first.partition("  # exit code ")
        yield Command(page, line, tuple(printed), int(code or 0))


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")
