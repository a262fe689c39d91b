"""The simulated disk of one peer: a dictionary that obeys the rules of a file system."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from blake3 import blake3

from twistedp2p.peer.values import Signature

__all__ = ["File", "SimDisk", "content_of", "parent_of"]


@cache
def content_of(token: int) -> bytes:
    """Return the content id of the bytes that stand for `token`."""
    return blake3(token.to_bytes(4, "big")).digest()


def parent_of(path: str) -> str:
    """Return the folder of `path`, "" at the top."""
    return path.rpartition("/")[0]


class File:
    """What lies under a name: a content, and a signature that no other write has."""

    __slots__ = ("content", "mtime_ns", "signature")

    def __init__(self, content: bytes, mtime_ns: int, number: int) -> None:
        self.content = content
        self.mtime_ns = mtime_ns
        self.signature = Signature(1, number, 1, mtime_ns)


class SimDisk:
    """Files and folders by path; every path's parents exist and are folders. `entries` is read by anyone."""

    def __init__(self, number: Callable[[], int]) -> None:
        self.entries: dict[str, File | None] = {}  # None: a folder
        self._number = number

    def copy(self, *, same_inodes: bool) -> SimDisk:
        """Return a copy of the whole disk, with the same signatures or as `cp -a` makes it."""
        twin = SimDisk(self._number)
        for path, entry in self.entries.items():
            if entry is None or same_inodes:
                twin.entries[path] = entry
            else:
                twin.entries[path] = File(entry.content, entry.mtime_ns, self._number())
        return twin

    def file(self, path: str) -> File | None:
        """Return the file at `path`, None if there is none."""
        return self.entries.get(path)

    def is_folder(self, path: str) -> bool:
        """Whether a folder is at `path`; the top is one."""
        return path == "" or (path in self.entries and self.entries[path] is None)

    def below(self, path: str) -> list[str]:
        """Return all that is in the folder `path`, at any depth, sorted."""
        prefix = path + "/"
        return sorted(other for other in self.entries if other.startswith(prefix))

    def new_file(self, content: bytes, mtime_ns: int) -> File:
        """Return a file that is nowhere yet."""
        return File(content, mtime_ns, self._number())

    def make_folders(self, path: str) -> list[str] | None:
        """Make the folder `path` and what is missing above it; return what was made, None if a file is in the way."""
        made: list[str] = []
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in self.entries:
                made.append(folder)
            elif self.entries[folder] is not None:
                return None
        for folder in made:
            self.entries[folder] = None
        return made

    def put(self, path: str, file: File) -> bool:
        """Put a file at a name where nothing or a file is; False if a folder is there, or the parent is none."""
        if not self.is_folder(parent_of(path)) or self.is_folder(path):
            return False
        self.entries[path] = file
        return True

    def move(self, old: str, new: str) -> bool:
        """Rename a file or a folder, as rename(2) does; False if it refuses."""
        if old not in self.entries or not self.is_folder(parent_of(new)) or new == old or new.startswith(old + "/"):
            return False
        entry = self.entries[old]
        if entry is None:
            if new in self.entries:
                return False
            for path in [old, *self.below(old)]:
                self.entries[new + path[len(old) :]] = self.entries.pop(path)
            return True
        return self.put(new, entry) and self.entries.pop(old) is entry

    def remove(self, path: str) -> list[File]:
        """Remove what is at `path`, recursively; return the files that are gone."""
        gone = [path, *self.below(path)] if self.is_folder(path) else [path]
        return [entry for one in gone if (entry := self.entries.pop(one, None)) is not None]

    def contents(self) -> set[bytes]:
        """Return the contents of all files."""
        return {entry.content for entry in self.entries.values() if entry is not None}
