"""What people do in the folders of a simulation, what the folders hold, and a ledger of all that was ever saved.

The ledger is how a run knows that nothing was lost: a content that somebody saved is in every folder at the end,
unless somebody who had it on disk overwrote or deleted it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from twistedp2p.testing.lineage import Lineage

__all__ = ["FOLDER", "Ledger", "Tree", "UserFolder", "read_tree"]

FOLDER = b"(folder)"
Tree = dict[str, tuple[bytes, bool]]
"""What a folder holds: for each path its content (`FOLDER` for a folder) and whether it can be executed."""


def read_tree(root: Path) -> Tree:
    """Return what the shared folder `root` holds, without its state folder."""
    return dict(_read(root, root))


def _read(root: Path, folder: Path) -> Iterator[tuple[str, tuple[bytes, bool]]]:
    for entry in sorted(folder.iterdir()):
        if entry == root / ".twistedp2p":
            continue
        path = str(entry.relative_to(root))
        if entry.is_dir():
            yield path, (FOLDER, False)
            yield from _read(root, entry)
        else:
            yield path, (entry.read_bytes(), os.access(entry, os.X_OK))


class Ledger:
    """All contents that were saved, and those that somebody who had them gave up; `lineage`: what came after what."""

    def __init__(self) -> None:
        self.lineage = Lineage()
        self._saved: dict[bytes, str] = {}
        self._given_up: set[bytes] = set()

    def saved(self, content: bytes, where: str) -> None:
        """Somebody saved this content; `where` is said when it is lost.

        A content that is saved twice is followed no more: whose save a deletion was meant for can not be told.
        """
        if content in self._saved:
            self._given_up.add(content)
        self._saved.setdefault(content, where)

    def given_up(self, content: bytes) -> None:
        """Somebody is about to overwrite or delete this content, which is before their eyes."""
        self._given_up.add(content)

    def lost(self, tree: Tree) -> list[str]:
        """Return where contents were saved that are not in `tree`, although nobody gave them up."""
        there = {content for content, _ in tree.values()}
        return [where for content, where in self._saved.items() if content not in there | self._given_up]


class UserFolder:
    """A folder in the hands of a person: what they do is done at once and noted in the ledger.

    `owner` names the folder in the ledger.
    """

    def __init__(self, root: Path, owner: str, ledger: Ledger) -> None:
        self.root = root
        self._owner = owner
        self._ledger = ledger

    def write(self, path: str, content: bytes, mtime_ns: int, executable: bool = False) -> None:
        """Save a file, and make the folders that it needs."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._ledger.lineage.saved(self._owner, path, content, target.read_bytes() if target.exists() else None)
        self._giving_up(target)
        target.write_bytes(content)
        target.chmod(0o755 if executable else 0o644)
        os.utime(target, ns=(mtime_ns, mtime_ns))
        self._ledger.saved(content, f"{path} saved at {self._owner}")

    def rename(self, old: str, new: str) -> None:
        """Rename a file or folder, over a file that is there."""
        target = self.root / new
        target.parent.mkdir(parents=True, exist_ok=True)
        self._renaming(self.root / old, target)
        self._giving_up(target)
        (self.root / old).rename(target)

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it."""
        target = self.root / path
        for file in _files(target):
            self._ledger.lineage.deleted(self._owner, str(file.relative_to(self.root)), file.read_bytes())
        self._giving_up(target)
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()

    def make_folder(self, path: str) -> None:
        """Make a folder, and those above it."""
        (self.root / path).mkdir(parents=True)
        self._ledger.lineage.is_folder(path)

    def _renaming(self, source: Path, target: Path) -> None:
        lineage = self._ledger.lineage
        for folder in (source, *source.rglob("*")):
            if folder.is_dir():
                lineage.is_folder(str((target / folder.relative_to(source)).relative_to(self.root)))
        for file in _files(source):
            new, content = target / file.relative_to(source), file.read_bytes()
            before = new.read_bytes() if new.is_file() else None
            lineage.saved(self._owner, str(new.relative_to(self.root)), content, before)
            lineage.deleted(self._owner, str(file.relative_to(self.root)), content)

    def _giving_up(self, target: Path) -> None:
        for file in _files(target):
            self._ledger.given_up(file.read_bytes())


def _files(target: Path) -> list[Path]:
    """Return the file at `target`, or those below it; none if nothing is there."""
    return sorted(file for file in (target, *target.rglob("*")) if file.is_file())
