"""A person who works in a shared folder at random, and a ledger of what was saved and must not be lost.

What a person gives up is noted by its content, which is only known for certain if nothing can slip in between looking
and replacing. So a file is replaced by an exchange or with its old inode held open, and deleted by moving it out of the
folder first. What a peer put there in the meantime is never taken for given up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from blake3 import blake3

from twistedp2p.disk.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2

__all__ = ["Ledger", "Tree", "User", "digest", "files_below", "tree_of"]

Tree = dict[str, "tuple[bytes, bool] | None"]
"""What a folder holds: path -> digest of the content and executable bit, None for a folder."""

STATE = ".twistedp2p"
_HERE = -100  # AT_FDCWD: paths are absolute
_PIECE = 1024 * 1024
_LISTING_LASTS = 15
"""Actions for which one listing of the folder is good enough."""
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)
"""A peer changed the folder since it was listed: the person does something else instead."""
_SYLLABLES = ("ka", "lo", "mi", "ren", "tu", "zé", "ost", "ü", "nda", "pi")


def digest(data: bytes) -> bytes:
    """Return the hash by which the ledger knows a content."""
    return blake3(data).digest(16)


def _digest_of(fd: int) -> bytes:
    hasher = blake3()
    at = 0
    while piece := os.pread(fd, _PIECE, at):
        hasher.update(piece)
        at += len(piece)
    return hasher.digest(16)


def digest_of_file(path: Path) -> bytes:
    """Return the digest of the content of a file."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return _digest_of(fd)
    finally:
        os.close(fd)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the regular files below `folder`, whatever lies in it."""
    for base, _, names in os.walk(folder):
        for name in names:
            path = Path(base, name)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def tree_of(folder: Path) -> Tree:
    """Return what is shared of `folder`; what vanishes meanwhile may be missing."""
    found: Tree = {}
    for base, folders, names in os.walk(folder):
        if STATE in folders:
            folders.remove(STATE)
        for name in folders:
            found[os.path.relpath(os.path.join(base, name), folder)] = None
        for name in names:
            path = Path(base, name)
            with contextlib.suppress(FileNotFoundError):
                executable = bool(path.lstat().st_mode & stat.S_IXUSR)
                found[os.path.relpath(path, folder)] = (digest_of_file(path), executable)
    return found


class Ledger:
    """Every content that somebody saved, and which of them somebody gave up who had it before them."""

    def __init__(self) -> None:
        self._saved: dict[bytes, str] = {}
        self._given_up: set[bytes] = set()
        self.bytes = 0
        """Bytes saved in all: each of them is on every disk for as long as the run lasts."""

    def __len__(self) -> int:
        return len(self._saved)

    def saved(self, content: bytes, size: int, what: str) -> None:
        """Somebody saved a content (its digest) of so many bytes; `what` tells a reader where and how."""
        self._saved[content] = what
        self.bytes += size

    def given_up(self, content: bytes) -> None:
        """Somebody overwrote or deleted this very content."""
        self._given_up.add(content)

    @property
    def owed(self) -> dict[bytes, str]:
        """What must be found somewhere: content -> where and how it was saved."""
        return {content: what for content, what in self._saved.items() if content not in self._given_up}

    def lost(self, places: Iterator[Path]) -> list[str]:
        """Return what must be in one of the files `places` and is in none."""
        owed = self.owed
        for path in places:
            with contextlib.suppress(FileNotFoundError):
                owed.pop(digest_of_file(path), None)
        return sorted(owed.values())


class User:
    """Somebody who works in `folder`; `desk` is a folder on the same file system that nobody shares.

    `room` returns how many bytes may be saved now: it bounds what a run writes. The folder has at most about
    `most_files` files; with more, something is deleted instead.
    """

    def __init__(
        self, folder: Path, desk: Path, random: Random, ledger: Ledger, room: Callable[[], int], most_files: int = 1200
    ) -> None:
        self.folder = folder
        self._desk = desk
        self._random = random
        self.ledger = ledger
        self._room = room
        self._most_files = most_files
        self._listed_for = 0
        self._files: list[Path] = []
        self._folders: list[Path] = []
        self._serial = 0
        self.done: dict[str, int] = {}
        """How often each action was carried out."""
        self._actions: dict[Callable[[], bool], int] = {
            self.create: 16, self.create_many: 1, self.create_big: 1, self.make_folder: 2,
            self.edit_in_place: 12, self.replace: 10, self.append: 8, self.flip_executable: 4,
            self.rename: 8, self.move_folder: 3, self.delete: 7, self.delete_folder: 1,
        }  # fmt: skip
        desk.mkdir(parents=True, exist_ok=True)

    def act(self) -> None:
        """Do one thing, chosen at random."""
        self._list()
        if len(self._files) > self._most_files:
            action: Callable[[], bool] = self._random.choice((self.delete, self.delete_folder))
        else:
            (action,) = self._random.choices(list(self._actions), list(self._actions.values()))
        with contextlib.suppress(*_GONE):
            if action():
                name = getattr(action, "__name__", "")
                self.done[name] = self.done.get(name, 0) + 1

    # -- new things -----------------------------------------------------------

    def create(self) -> bool:
        """Save a new small file."""
        return self._save_new(self._any_folder() / self._new_name(), self._bytes(self._small()), "created")

    def create_many(self) -> bool:
        """Make a folder with many small files, as when an archive is unpacked."""
        folder = self._any_folder() / self._new_name()
        count = self._random.randrange(30, 150)
        if self._room() < count * 4096 or len(self._files) + count > self._most_files:
            return False
        folder.mkdir()
        for number in range(count):
            self._save_new(folder / f"{number:03d}.txt", self._bytes(self._random.randrange(4096)), "unpacked")
        return True

    def create_big(self) -> bool:
        """Save a file of 1 to 50 MB, piece by piece, as a download."""
        size = int(1e6 * 50 ** self._random.random())
        if self._room() < size:
            return False
        data = self._bytes(size)
        path = self._any_folder() / f"{self._new_name()}.bin"
        with path.open("xb", buffering=0) as file:
            for at in range(0, size, _PIECE):
                file.write(data[at : at + _PIECE])
        self._saved(path, data, "downloaded")
        return True

    def make_folder(self) -> bool:
        """Make an empty folder."""
        (self._any_folder() / self._new_name()).mkdir()
        return True

    # -- changes --------------------------------------------------------------

    def edit_in_place(self) -> bool:
        """Overwrite a file without replacing it, as some editors do."""
        path = self._any_file()
        if path is None:
            return False
        data = self._bytes(self._small())
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            before = _digest_of(fd)
            os.ftruncate(fd, 0)
            os.pwrite(fd, data, 0)
        finally:
            os.close(fd)
        self.ledger.given_up(before)
        self._saved(path, data, "edited")
        return True

    def append(self) -> bool:
        """Append to a file."""
        path = self._any_file()
        if path is None or path.lstat().st_size > self._room():
            return False
        more = self._bytes(self._random.randrange(1, 4096))
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
        try:
            before = _digest_of(fd)
            os.write(fd, more)
            after, size = _digest_of(fd), os.fstat(fd).st_size
        finally:
            os.close(fd)
        self.ledger.given_up(before)
        self.ledger.saved(after, size, f"appended to {path}")
        return True

    def replace(self) -> bool:
        """Save a file beside the old one and rename it over that, as most editors do."""
        path = self._any_file()
        if path is None:
            return False
        data = self._bytes(self._small())
        new = self._on_desk()
        new.write_bytes(data)
        try:
            if self._random.random() < 0.5:
                renameat2(_HERE, os.fsencode(new), _HERE, os.fsencode(path), RENAME_EXCHANGE)
                self.ledger.given_up(digest_of_file(new))
                new.unlink()
            else:
                self._rename_over(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        self._saved(path, data, "replaced")
        return True

    def _rename_over(self, new: Path, path: Path) -> None:
        """Rename `new` over `path`; what was looked at is given up only if it was what the name had."""
        old = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            before = _digest_of(old)
            new.rename(path)
            if os.fstat(old).st_nlink == 0:
                self.ledger.given_up(before)
        finally:
            os.close(old)

    def flip_executable(self) -> bool:
        """Make a file executable, or no longer."""
        path = self._any_file()
        if path is None:
            return False
        path.chmod(path.lstat().st_mode ^ 0o111)
        return True

    def rename(self) -> bool:
        """Give a file another name, here or in another folder."""
        path = self._any_file()
        if path is None:
            return False
        self._move(path, self._any_folder() / self._new_name())
        return True

    def move_folder(self) -> bool:
        """Move a folder into another one, or give it another name."""
        if not self._folders:
            return False
        self._listed_for = 0
        try:
            self._move(self._random.choice(self._folders), self._any_folder() / self._new_name())
        except OSError as error:
            if error.errno != errno.EINVAL:  # into itself
                raise
            return False
        return True

    # -- deletions ------------------------------------------------------------

    def delete(self) -> bool:
        """Delete a file."""
        path = self._any_file()
        if path is None:
            return False
        out = self._on_desk()
        path.rename(out)
        self.ledger.given_up(digest_of_file(out))
        out.unlink()
        return True

    def delete_folder(self) -> bool:
        """Delete a folder with all that is in it."""
        if not self._folders:
            return False
        self._listed_for = 0
        out = self._on_desk()
        self._random.choice(self._folders).rename(out)
        for path in files_below(out):
            self.ledger.given_up(digest_of_file(path))
        shutil.rmtree(out)
        return True

    # -- what they need -------------------------------------------------------

    def _save_new(self, path: Path, data: bytes, how: str) -> bool:
        with path.open("xb") as file:
            file.write(data)
        self._saved(path, data, how)
        return True

    def _saved(self, path: Path, data: bytes, how: str) -> None:
        self.ledger.saved(digest(data), len(data), f"{how} {path}")

    def _move(self, path: Path, target: Path) -> None:
        renameat2(_HERE, os.fsencode(path), _HERE, os.fsencode(target), RENAME_NOREPLACE)

    def _bytes(self, size: int) -> bytes:
        """Return bytes that nobody ever saved before, about so many."""
        self._serial += 1
        return b"%s %d\n" % (os.fsencode(self.folder.name), self._serial) + self._random.randbytes(size)

    def _small(self) -> int:
        """Return the size of a file as people have them: most are a few kB."""
        return min(int(self._random.lognormvariate(7.5, 1.5)), 200_000)

    def _new_name(self) -> str:
        self._serial += 1
        word = "".join(self._random.choices(_SYLLABLES, k=3))
        return f"{word} {self.folder.name}{self._serial}"

    def _on_desk(self) -> Path:
        self._serial += 1
        return self._desk / str(self._serial)

    def _any_file(self) -> Path | None:
        return self._random.choice(self._files) if self._files else None

    def _any_folder(self) -> Path:
        """Return a folder, the shared one itself more often than others; none that is very deep."""
        if not self._folders or self._random.random() < 0.3:
            return self.folder
        chosen = self._random.choice(self._folders)
        return chosen if len(chosen.relative_to(self.folder).parts) < 6 else self.folder

    def _list(self) -> None:
        if self._listed_for > 0:
            self._listed_for -= 1
            return
        self._listed_for = _LISTING_LASTS
        self._files, self._folders = [], []
        for base, folders, names in os.walk(self.folder):
            if STATE in folders:
                folders.remove(STATE)
            self._folders += [Path(base, name) for name in sorted(folders)]
            self._files += [Path(base, name) for name in sorted(names)]
