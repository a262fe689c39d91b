"""Who saved what over what, path by path: by it a run knows which conflict copies a conflict explains."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["Lineage"]

_COPY = re.compile(r"(?P<stem>.*) \(conflict \d{4}-\d\d-\d\d [a-z2-7]+ [0-9a-f]+\)(?P<extension>\.[^/ ]*)?", re.DOTALL)
_FOLDER = b"(a folder, or something below it)"


class Lineage:
    """The versions that people saved at each path, and which of them each one came after.

    A version comes after the one that its user had on disk and saved over, or deleted before. Two versions of which
    neither comes after the other are in conflict. Where it is not certain, a conflict is taken to be there.
    """

    def __init__(self) -> None:
        self._older: dict[str, dict[bytes, set[bytes] | None]] = {}
        self._deleted: dict[tuple[str, str], bytes] = {}

    def saved(self, owner: str, path: str, content: bytes, before: bytes | None) -> None:
        """`owner` saves a file over `before`, None if nothing was there."""
        for folder in _above(path):
            self._older.setdefault(folder, {})[_FOLDER] = None
        before = before if before is not None else self._deleted.get((owner, path))
        versions = self._older.setdefault(path, {})
        if content in versions:
            versions[content] = None  # saved twice: what it comes after can not be told
        elif before is None:
            versions[content] = set()
        else:
            older = versions.get(before)
            versions[content] = None if older is None else {before, *older}

    def deleted(self, owner: str, path: str, content: bytes) -> None:
        """`owner` deletes or renames the file `path`, which had this content."""
        self._deleted[owner, path] = content

    def is_folder(self, path: str) -> None:
        """Somebody made a folder at `path`."""
        for folder in (*_above(path), path):
            self._older.setdefault(folder, {})[_FOLDER] = None

    def unexplained(self, contents: Mapping[str, bytes]) -> list[str]:
        """Return which of these files (path -> content) are conflict copies of what was never in conflict."""
        return [path for path, content in contents.items() if not self._explained(path, content)]

    def _explained(self, path: str, content: bytes) -> bool:
        if content in self._older.get(path, {}):
            return True  # somebody saved it, or renamed it, under that name
        copy = _COPY.fullmatch(path)
        if copy is None:
            return True
        original = copy["stem"] + (copy["extension"] or "")
        versions = self._older.get(original, {})
        if content not in versions and not (_COPY.fullmatch(original) and self._explained(original, content)):
            return False  # nobody saved it there, and it is no copy of a copy either
        return any(
            older is None or mine is None or (content not in older and other not in mine)
            for mine in (versions.get(content),)
            for other, older in versions.items()
            if other != content
        )


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]
