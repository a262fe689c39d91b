"""The steps that change the shared folder, each of them safe to be interrupted and to race with a program that saves.

Whatever is displaced lies under a name in the trash from the first instant; nothing here removes a file for
good. A file is put in place by a rename that never replaces, or by an exchange of two names in one step; then the
caller compares what was displaced with what it expected there, by signature: another one is a save that nobody
has seen yet. The order of steps, and what a crash between any two of them leaves, are in docs/design.md.

Nothing here decides what belongs where. All of it blocks.
"""

from __future__ import annotations

import contextlib
import errno
from enum import Enum

from attrs import evolve, frozen

from twistedp2p.disk.seam import Abilities, Disk, FileKind, Name, NotRegular, OtherDevice, Stat
from twistedp2p.limits import SYNC_FOLDERS_ONE_BY_ONE
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.names import DiskNames, signature_of
from twistedp2p.peer.values import Signature

__all__ = ["Displaced", "Obstacle", "Publisher", "Replaced"]

_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


class Obstacle(Enum):
    """Why a step was not taken; the folder is as it was."""

    OCCUPIED = "a file is there"
    FOLDER = "a folder is there"
    FOREIGN = "something is there that is not shared"
    GONE = "there is nothing there"
    NO_PARENT = "a folder above is missing, or is no folder"
    CHANGED = "it is not what was expected there"
    NOT_EMPTY = "the folder is not empty"


@frozen
class Replaced:
    """A file was put in place of another: the signature of the new one, and of what is now in the trash."""

    signature: Signature
    displaced: Signature


@frozen
class Displaced:
    """A file lies in the trash now: its signature.

    As the result of `Publisher.replace`: and something else was saved at its name since. Only a file system
    without exchange gives that, where the name is free for an instant.
    """

    displaced: Signature


class Publisher:
    """Puts files and folders in place on `disk`, whose `abilities` were probed; paths find their names by `names`.

    In `durable` use, call `sync` after a batch of steps and before anything says that they were taken.
    """

    def __init__(self, disk: Disk, names: DiskNames, abilities: Abilities) -> None:
        self._disk = disk
        self._names = names
        self._abilities = abilities
        self._touched: set[Name] = set()

    def stage(self, source: Name, trash: Name) -> Name:
        """Move new content to the trash name that what it replaces will get; return where it lies now.

        Done for a whole batch, then `sync`, then `replace` of each: so a power cut can not leave the old bytes
        without a name. Without exchange there is nothing to do, and `source` is returned.
        """
        if not self._abilities.exchange:
            return source
        self._rename(source, trash)
        return trash

    def place_new(
        self, source: Name, path: RelPath, *, executable: bool = False, mtime_ns: int | None = None
    ) -> Signature | Obstacle:
        """Put `source` (a part, or a name in the trash) at `path`, where nothing is; return what it is there.

        The signature is taken before the file can be seen: a save a moment later makes another one.
        """
        signature = self._dress(source, executable, mtime_ns, None)
        return self._into_place(source, path) or signature

    def replace(
        self, source: Name, path: RelPath, trash: Name, *, executable: bool = False, mtime_ns: int | None = None
    ) -> Replaced | Displaced | Obstacle:
        """Put `source`, which may be staged as `trash` already, in place of the file at `path`; that goes to `trash`.

        The new file gets the permissions of the old one, but for the x bits. On an `Obstacle`, `source` is where it
        was.
        """
        target = self._names.of(path)
        there = self._look(target)
        if isinstance(there, Obstacle):
            return there
        signature = self._dress(source, executable, mtime_ns, there)
        if self._abilities.exchange:
            return self._exchange(source, target, trash, signature)
        return self._displace_and_link(source, path, trash, signature)

    def remove(self, path: RelPath, trash: Name) -> Displaced | Obstacle:
        """Move the file at `path` to the name `trash`."""
        target = self._names.of(path)
        there = self._look(target)
        if isinstance(there, Obstacle):
            return there
        try:
            self._rename(target, trash)
        except FileNotFoundError:
            return Obstacle.GONE
        return self._displaced(target, trash)

    def move(
        self, source: RelPath, target: RelPath, trash: Name, expected: Signature
    ) -> Signature | Displaced | Obstacle:
        """Rename the file at `source`, if it is what is `expected`, to `target`, where nothing is, by way of `trash`.

        For content that is in one place before and after: nothing is copied, mtime and x bit stay. On an `Obstacle`
        the file is at `source` as before; `Displaced`: it is in the trash, for somebody saved at `source` since.
        """
        removed = self.remove(source, trash)
        if isinstance(removed, Obstacle):
            return removed
        obstacle = Obstacle.CHANGED
        if removed.displaced == expected:
            found = self._into_place(trash, target)
            if found is None:
                return expected
            obstacle = found
        return removed if self._into_place(trash, source) is not None else obstacle

    def make_folder(self, path: RelPath) -> list[RelPath] | Obstacle:
        """Make the folder `path` and those above it that are missing; return the ones made, the top one first."""
        made: list[RelPath] = []
        for folder in (*reversed(path.ancestors()), path):
            name = self._names.of(folder)
            try:
                self._disk.make_folder(name)
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):
                    found = self._disk.stat(name).kind
                    if found is not FileKind.FOLDER:
                        return Obstacle.OCCUPIED if found is FileKind.FILE else Obstacle.FOREIGN
            except (FileNotFoundError, NotADirectoryError, OtherDevice):
                return Obstacle.NO_PARENT
            else:
                made.append(folder)
                self._touched.update((name, name[:-1]))
        return made

    def remove_folder(self, path: RelPath) -> bool | Obstacle:
        """Remove the folder at `path`; False if something is in it. A folder that is gone already counts as removed."""
        name = self._names.of(path)
        try:
            found = self._disk.stat(name).kind
            if found is not FileKind.FOLDER:
                return Obstacle.OCCUPIED if found is FileKind.FILE else Obstacle.FOREIGN
            self._disk.remove_folder(name)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OtherDevice:
            return Obstacle.FOREIGN
        except OSError as error:
            if error.errno == errno.EBUSY:  # a mount point
                return Obstacle.FOREIGN
            if error.errno not in _NOT_EMPTY:
                raise
            return False
        self._touched.discard(name)
        self._touched.add(name[:-1])
        return True

    def set_executable(self, path: RelPath, executable: bool, expected: Signature) -> Signature | Obstacle:
        """Set or clear the x bits of the file at `path`, if it is what is `expected`; return what that makes of it.

        Not what it is a moment later: a user's own chmod in between must be seen as one.
        """
        try:
            with self._disk.open(self._names.of(path)) as opened:
                there = opened.stat()
                if signature_of(there) != expected:
                    return Obstacle.CHANGED
                opened.set_mode(_with_x(there.mode, executable))
                return evolve(expected, executable=executable)
        except NotRegular as error:
            return Obstacle.FOLDER if error.kind is FileKind.FOLDER else Obstacle.FOREIGN
        except FileNotFoundError:
            return Obstacle.GONE
        except (NotADirectoryError, OtherDevice):
            return Obstacle.NO_PARENT

    def sync(self) -> None:
        """Return when all steps since the last call are on stable storage."""
        touched, self._touched = self._touched, set()
        if len(touched) > SYNC_FOLDERS_ONE_BY_ONE:
            self._disk.sync_all()
            return
        for folder in sorted(touched):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # moved or removed by the user since
                self._disk.sync_folder(folder)

    def _look(self, name: Name) -> Stat | Obstacle:
        """Return what lies at `name` if it is a file, else what is in the way."""
        try:
            there = self._disk.stat(name)
        except FileNotFoundError:
            return Obstacle.GONE
        except (NotADirectoryError, OtherDevice):
            return Obstacle.NO_PARENT
        if there.kind is FileKind.FILE:
            return there
        return Obstacle.FOLDER if there.kind is FileKind.FOLDER else Obstacle.FOREIGN

    def _dress(self, source: Name, executable: bool, mtime_ns: int | None, like: Stat | None) -> Signature:
        """Give the file `source` the mode and mtime it will have in place; return its signature."""
        with self._disk.open(source) as new:
            before = new.stat()
            mode = _with_x(before.mode if like is None else like.mode, executable)
            if mode != before.mode:
                new.set_mode(mode)
            if mtime_ns is not None:
                new.set_mtime(mtime_ns)
            return signature_of(new.stat())

    def _into_place(self, source: Name, path: RelPath) -> Obstacle | None:
        target = self._names.of(path)
        try:
            self._rename(source, target)
        except FileExistsError:
            there = self._look(target)
            return there if isinstance(there, Obstacle) else Obstacle.OCCUPIED
        except (FileNotFoundError, NotADirectoryError, OtherDevice):
            return Obstacle.NO_PARENT
        return None

    def _exchange(self, source: Name, target: Name, trash: Name, signature: Signature) -> Replaced | Obstacle:
        staged = source == trash
        if not staged:
            self._rename(source, trash)
        try:
            self._disk.exchange(trash, target)
        except OSError as error:
            if not staged:
                self._rename(trash, source)
            if isinstance(error, FileNotFoundError):
                return Obstacle.GONE
            if isinstance(error, (NotADirectoryError, OtherDevice)):
                return Obstacle.NO_PARENT
            raise
        self._touched.update((target[:-1], trash[:-1]))
        displaced = self._disk.stat(trash)
        if displaced.kind is FileKind.FILE:
            return Replaced(signature, signature_of(displaced))
        # Since the look, a folder or a link took the place of the file: give it back.
        self._disk.exchange(trash, target)
        if not staged and signature_of(self._disk.stat(trash)) == signature:
            self._rename(trash, source)
        return Obstacle.FOLDER if displaced.kind is FileKind.FOLDER else Obstacle.FOREIGN

    def _displace_and_link(
        self, source: Name, path: RelPath, trash: Name, signature: Signature
    ) -> Replaced | Displaced | Obstacle:
        target = self._names.of(path)
        try:
            self._rename(target, trash)
        except FileNotFoundError:
            return Obstacle.GONE
        moved = self._displaced(target, trash)
        if isinstance(moved, Obstacle):
            return moved
        if self._into_place(source, path) is not None:
            return moved
        return Replaced(signature, moved.displaced)

    def _displaced(self, target: Name, trash: Name) -> Displaced | Obstacle:
        """Return the signature of what was moved from `target` to `trash`; what is not a file goes back."""
        moved = self._disk.stat(trash)
        if moved.kind is FileKind.FILE:
            return Displaced(signature_of(moved))
        with contextlib.suppress(FileExistsError):
            self._rename(trash, target)
        return Obstacle.FOLDER if moved.kind is FileKind.FOLDER else Obstacle.FOREIGN

    def _rename(self, source: Name, target: Name) -> None:
        self._disk.rename(source, target)
        self._touched.update((source[:-1], target[:-1]))


def _with_x(mode: int, executable: bool) -> int:
    """Return `mode` with the x bit for all who may read, or without any."""
    return mode & ~0o111 | ((mode & 0o444) >> 2 if executable else 0)
