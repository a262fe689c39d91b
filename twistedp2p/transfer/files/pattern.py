"""Searching a listing: which paths a pattern matches.

Like a line of .gitignore: ``*``, ``?`` and ``[...]`` stay within one name, ``**`` stands for any number of folders,
and a pattern without a slash is about the last name alone. Matching takes time in proportion to the pattern and the
path, whatever they are: `fnmatch` makes expressions that never go back.
"""

from __future__ import annotations

import fnmatch
import re

__all__ = ["Pattern"]


class Pattern:
    """A pattern that was made once and is asked often; "" matches everything."""

    def __init__(self, text: str) -> None:
        parts = [part for part in text.split("/") if part]
        self._deep = "/" not in text.rstrip("/")
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]

    def matches(self, path: str) -> bool:
        """Whether the pattern matches `path`, as `paths.RelPath` has it."""
        if not self._parts:
            return True
        names = path.split("/")
        if self._deep:
            first = self._parts[0]
            return first is None or first.match(names[-1]) is not None
        return self._all(names)

    def _all(self, names: list[str]) -> bool:
        # Which prefixes of the names the parts so far can stand for.
        reached = {0}
        for part in self._parts:
            if part is None:
                reached = set(range(min(reached), len(names) + 1))
            else:
                reached = {at + 1 for at in reached if at < len(names) and part.match(names[at])}
            if not reached:
                return False
        return len(names) in reached
