"""The patterns of what is not shared: what git makes of them, and their limits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import need_tool
from twistedp2p.limits import IGNORE_BYTES, IGNORE_PATTERN_CHARS, IGNORE_PATTERNS
from twistedp2p.peer.ignore import DEFAULTS, IGNORE_NAME, ListUnusable, parse_ignores
from twistedp2p.versions import Kind

PATTERNS = [
    "*.log", "!keep.log", "/top", "build/", "a/b", "a/**/z", "**/deep", "x/**", "**", "*", "fo?", "[ab]c", "[!ab]d",
    "*a*b*c*", "#comment", r"\#name", r"\!name", "trailing ", r"kept\ ", "été", "a/*/c", "!/a/b/c", "sub/*.txt", "",
]  # fmt: skip
PATHS = [
    "x.log", "keep.log", "d/x.log", "d/keep.log", "top", "d/top", "build/x", "d/build/x", "a/b", "a/b/c", "d/a/b",
    "a/z", "a/1/2/z", "deep", "1/2/deep", "x/y", "x/y/z", "foo", "fool", "ac", "cd", "ad", "1a2b3c4", "#name", "!name",
    "trailing", "kept ", "été", "a/x/c", "sub/t.txt", "sub/u/t.txt",
]  # fmt: skip


def ignored(text: str, path: str) -> bool:
    """Whether this list, with the defaults before it, ignores a file at `path`."""
    return parse_ignores(text.encode()).ignored(path, Kind.FILE)


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_as_git_does(number: int, tmp_path: Path) -> None:
    """Three patterns after one another ignore the very paths that git ignores by them."""
    git = need_tool("git")
    text = "\n".join(PATTERNS[(number * step + step) % len(PATTERNS)] for step in (1, 5, 7)) + "\n"
    subprocess.run([git, "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text(text)
    for path in PATHS:
        file = tmp_path / path
        if file.is_dir() or any(above.is_file() for above in file.parents):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    there = [path for path in PATHS if (tmp_path / path).is_file()]
    assert there
    asked = "\0".join(there).encode() + b"\0"
    answer = subprocess.run(
        [git, "-C", tmp_path, "-c", "core.excludesFile=", "check-ignore", "-z", "--stdin"],
        input=asked, capture_output=True, check=False,
    )  # fmt: skip
    expected = {path for path in answer.stdout.decode().split("\0") if path}
    assert {path for path in there if ignored(text, path)} == expected, text


@pytest.mark.parametrize("path", ["notes.swp", "notes~", ".#notes", "#notes#", "d/.DS_Store", "Thumbs.db", "~$a.docx"])
def test_defaults(path: str) -> None:
    """What editors and desktops leave behind is ignored everywhere, unless the list takes it in again."""
    assert ignored("", path)
    assert not ignored(f"!{path.rpartition('/')[2].replace('#', chr(92) + '#')}", path)


def test_every_default_is_a_pattern() -> None:
    """No line of the default list is left out, and each says what makes such files."""
    assert [pattern.text for pattern in parse_ignores().patterns()] == [text for text, _ in DEFAULTS]
    assert all(reason for _, reason in DEFAULTS)


def test_folder_above() -> None:
    """What is in an ignored folder can not be taken in again; only folders match a pattern that ends in a slash."""
    ignores = parse_ignores(b"build/\n!build/keep\n")
    assert ignores.ignored("build", Kind.FOLDER) and not ignores.ignored("build", Kind.FILE)
    assert ignores.ignored("build/keep", Kind.FILE)
    deciding = ignores.deciding("build/keep", Kind.FILE)
    assert deciding is not None and (deciding.text, deciding.line) == ("build/", 1)


def test_list_itself() -> None:
    """The list at the top of the share is never ignored; one of that name elsewhere is a file like any other."""
    ignores = parse_ignores(b"*\n")
    assert not ignores.ignored(IGNORE_NAME, Kind.FILE)
    assert ignores.ignored(f"d/{IGNORE_NAME}", Kind.FILE)


def test_bad_lines() -> None:
    """A line that is no pattern is left out and named; the others count."""
    ignores = parse_ignores(b"\xff\n[z-a]x\n*.log\n")
    assert [problem.line for problem in ignores.problems] == [1, 2]
    assert all(problem.reason for problem in ignores.problems)
    assert ignores.ignored("x.log", Kind.FILE)


def test_limits() -> None:
    """A list at its limits is used; one beyond them is not used at all, and a pattern beyond them is left out."""
    most = "\n".join(f"name{n}" for n in range(IGNORE_PATTERNS))
    assert ignored(most, "name0")
    with pytest.raises(ListUnusable):
        parse_ignores(f"{most}\none-more".encode())
    assert ignored("a" * IGNORE_PATTERN_CHARS, "a" * IGNORE_PATTERN_CHARS)
    assert not ignored("a" * (IGNORE_PATTERN_CHARS + 1), "a" * (IGNORE_PATTERN_CHARS + 1))
    comment = "#" * (IGNORE_BYTES - 6)
    assert ignored(f"{comment}\n*.log", "x.log") and len(f"{comment}\n*.log") == IGNORE_BYTES
    with pytest.raises(ListUnusable):
        parse_ignores(f"{comment}#\n*.log".encode())


def test_hostile_pattern() -> None:
    """A pattern with many stars, against a name that nearly matches, is decided: one by one it would take years."""
    assert not ignored("*a" * 100 + "b", "a" * 255)
    assert ignored("*a" * 100 + "b", "a" * 254 + "b")
    assert not ignored("/".join(["**", "a"] * 30) + "/b", "/".join("a" * 60))
