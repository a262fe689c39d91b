"""Searching a listing: what a pattern matches, and that no pattern takes long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedp2p import limits
from twistedp2p.transfer.files.pattern import Pattern


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("", ["a", "a/b"], []),
        ("*.jpg", ["a.jpg", "deep/down/b.jpg", ".jpg"], ["a.jpeg", "a.jpg/b"]),
        ("photos/*.jpg", ["photos/a.jpg"], ["a.jpg", "photos/deep/a.jpg", "my/photos/a.jpg"]),
        ("photos/**/*.jpg", ["photos/a.jpg", "photos/x/y/a.jpg"], ["photos", "other/a.jpg"]),
        ("**/raw", ["raw", "a/raw", "a/b/raw"], ["a/raw/b", "rawer"]),
        ("photos/**", ["photos", "photos/a", "photos/a/b"], ["photo", "xphotos/a"]),
        ("**", ["a", "a/b"], []),
        ("a/**/b/**/c", ["a/b/c", "a/x/b/y/z/c"], ["a/c", "a/b"]),
        ("?.txt", ["a.txt", "deep/b.txt"], ["ab.txt", ".txt"]),
        ("[a-c]*", ["apple", "x/cherry"], ["date", "Apple"]),
        ("[!a]", ["b"], ["a"]),
        ("[", ["["], ["a"]),
        ("/top", ["top"], ["a/top"]),
        ("folder/", ["folder", "a/folder"], ["folder/a"]),
        ("a\nb", ["a\nb"], ["a", "b"]),
    ],
)
def test_matches(pattern: str, matches: list[str], others: list[str]) -> None:
    """A pattern matches as a line of .gitignore does: names, folders, any number of folders."""
    found = Pattern(pattern)
    assert [path for path in [*matches, *others] if found.matches(path)] == matches


def test_the_worst_patterns_take_no_time() -> None:
    """A pattern of stars that an expression would go back for, over and over, is answered at once."""
    path = "/".join(["a" * limits.COMPONENT_BYTES] * 4)
    for pattern in (
        "*a" * 250 + "b",
        "/".join(["**"] * 170) + "/b",
        "*" * limits.IGNORE_PATTERN_CHARS,
        "**/*a*a*a*a*b",
    ):
        Pattern(pattern).matches(path)


@given(
    st.text(alphabet="ab*?[]!-/\\", max_size=30),
    st.lists(st.text(alphabet="ab*", min_size=1, max_size=5), min_size=1, max_size=6),
)
def test_any_pattern(pattern: str, names: list[str]) -> None:
    """Any text is a pattern, and says yes or no."""
    assert Pattern(pattern).matches("/".join(names)) in (True, False)


@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_path_matches_itself(names: list[str]) -> None:
    """A path without wildcards matches itself, and what begins with it by two stars."""
    path = "/".join(names)
    assert Pattern("/" + path).matches(path)
    assert Pattern(f"/{names[0]}/**").matches(path)
