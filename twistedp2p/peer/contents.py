"""Where a content lies on this disk: in a part, in the trash, or in a file of the folder. In the state thread.

An index entry alone proves nothing: a file counts only while its signature is the one that was read, and what is
taken from anywhere is hashed before it is used.
"""

from __future__ import annotations

import contextlib
import errno

from attrs import evolve

from twistedp2p.disk.seam import Disk, Name
from twistedp2p.errors import NoSpace
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.mark import PARTS
from twistedp2p.peer.folder.names import DiskNames
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.peer.store import View
from twistedp2p.peer.troubles import Trouble, trouble_of
from twistedp2p.peer.values import Signature
from twistedp2p.versions import Kind

__all__ = ["Contents"]


class Contents:
    """Finds contents by their id, and makes private copies that can be published."""

    def __init__(
        self, disk: Disk, names: DiskNames, index: Index, parts: PartStore, trash: TrashStore, eye: Eye
    ) -> None:
        self._disk = disk
        self._names = names
        self._index = index
        self._parts = parts
        self._trash = trash
        self._eye = eye
        self._copies = 0
        self.taken: set[str] = set()
        """Entries of the trash that are in use: to be forgotten with a commit, once they are not there any more."""

    def has(self, content: bytes) -> bool:
        """Whether this content is on this disk, as far as can be told without reading it."""
        if self._parts.has(content):
            return True
        if any(self._trash.look(entry.name) is not None for entry in self._index.trash_with_content(content)):
            return True
        return self.file_with(content) is not None

    def file_with(self, content: bytes) -> str | None:
        """Return the path of a file of the folder that has this content and was not changed, None if there is none."""
        for path, row in self._index.paths_with_content(content):
            if row.kind == Kind.FILE and row.signature is not None and self._is_fine(path, row.signature):
                return path
        return None

    def _is_fine(self, path: str, signature: Signature) -> bool:
        """Whether a file was not changed; one that can not be looked at is of no use, and keeps nobody else waiting."""
        try:
            return self._eye.is_fine(path, signature)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # no other file can be looked at either
            return False

    def no_room(self, content: bytes, size: int) -> Trouble | None:
        """Return why a content of `size` bytes can not be fetched for want of space; None if there is room."""
        try:
            self._parts.require_space_for(content, size)
        except (NoSpace, OSError) as error:
            return trouble_of(error)
        return None

    def take(self, content: bytes) -> Name | None:
        """Return the name of a private file with this content, ready to be published; None if there is none (any more).

        A part is taken as it is, an entry of the trash out of the trash, a file of the folder is copied.
        """
        if self._parts.has(content):
            return self._parts.locate(content)
        for entry in self._index.trash_with_content(content):
            # Only a commit after it was moved forgets the entry: until then a crash leaves the file listed.
            self.taken.add(entry.name)
            if self._trash.has(entry.name, content):
                return self._trash.locate(entry.name)
        while (path := self.file_with(content)) is not None:
            if self._parts.take_copy(self._names.of(RelPath(path)), content):
                return self._parts.locate(content)
            self._distrust(path)
        return None

    def _distrust(self, path: str) -> None:
        """Note that a file has other bytes than its row says, although its signature is the same: read it again."""
        view = View(self._index)
        row = view.row(path)
        if row is not None:
            view.set_row(path, evolve(row, signature=None))
            view.commit()

    def duplicate(self, source: Name, content: bytes) -> Name:
        """Return the name of a second private file with the bytes of the private file `source`."""
        self._copies += 1
        name = (*PARTS, f"{content.hex()}-{self._copies}".encode())
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(name)
        with self._disk.open(source) as original, self._disk.create(name) as copy:
            copy.copy_from(original, 0, 0, original.stat().size)
        return name

    def forget_duplicates(self) -> None:
        """Remove duplicates that an earlier life of this process left."""
        for component, _ in self._disk.entries(PARTS):
            if b"-" in component:
                self._disk.unlink((*PARTS, component))
