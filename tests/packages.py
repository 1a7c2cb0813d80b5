"""Packages of other people, put into a folder as pip would: modules, and a description with entry points. Owns nothing that is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(site: Path, package: str, entry_points: Mapping[str, str], modules: Mapping[str, str]) -> None:
    """`entry_points`: "group: name" -> target; `modules`: name -> source. Whoever has `site` on its path has the package."""
    described = site / f"{package.replace('-', '_')}-1.2.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", encoding="utf-8")
    lines: list[str] = []
    for entry, target in entry_points.items():
        group, name = entry.split(": ")
        lines += [f"[{group}]", f"{name} = {target}"]
    (described / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source, encoding="utf-8")
