"""docs/coverage.md names tests that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "coverage.md"


def names(body: list[ast.stmt], before: str = "") -> Iterator[str]:
    """Yield the tests of a module as pytest names them, without the module."""
    for one in body:
        if isinstance(one, ast.ClassDef):
            yield from names(one.body, f"{before}{one.name}::")
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_"):
            yield before + one.name


def test_named_tests() -> None:
    """Every test that is named is there."""
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", DOCUMENT.read_text(encoding="utf-8"))
    assert len(named) > 50
    there = {file: set(names(ast.parse((ROOT / file).read_text(encoding="utf-8")).body)) for file, _ in named}
    assert [(file, test) for file, test in named if test not in there[file]] == []


def test_all_are_named() -> None:
    """Every test of this folder is named, but for those of the document itself."""
    named = set(re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", DOCUMENT.read_text(encoding="utf-8")))
    here = {
        f"tests/seeds/{file.name}::{test}"
        for file in Path(__file__).parent.glob("test_*.py")
        if file != Path(__file__)
        for test in names(ast.parse(file.read_text(encoding="utf-8")).body)
    }
    assert here - named == set()
