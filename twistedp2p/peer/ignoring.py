"""The list in force: which patterns this peer goes by now, and what is wrong with the file that they should be from.

The list follows the index: it is the content that the row of `.twistedp2pignore` names. So a file that an editor
replaces, or that is missing for an instant, makes no moment without a list. The text is kept in the index: when the
file can not be read, the last good list holds, also after a restart. Reads the disk; in the state thread.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from blake3 import blake3

from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Disk
from twistedp2p.errors import FolderUnusable
from twistedp2p.limits import IGNORE_BYTES
from twistedp2p.paths import RelPath
from twistedp2p.peer.ignore import DEFAULTS, IGNORE_NAME, Ignores, ListUnusable, parse_ignores
from twistedp2p.peer.ignore_file import list_on, text_on
from twistedp2p.peer.index import Index
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Row
from twistedp2p.versions import Kind

__all__ = ["Ignoring", "list_in"]


class Ignoring:
    """The list in force in one folder. Any thread may ask; only the state thread changes it.

    It begins with what lies on the disk, so that nothing is taken that a person excluded while no peer ran.
    `trouble` is a sentence if the file can not be used.
    """

    def __init__(self, disk: Disk, index: Index) -> None:
        self._disk = disk
        self._index = index
        self.trouble = ""
        self.list = parse_ignores(index.ignore_text)
        self.begin()

    def begin(self) -> None:
        """Go by the file as it lies on the disk; if it can not be used, or is missing for the moment, by the last."""
        try:
            text = self._read()
        except FileNotFoundError:
            text = b"" if self._index.row(IGNORE_NAME) is None else None
        if text is not None:
            self._use(text)

    def __call__(self, path: str, kind: Kind) -> bool:
        """Whether what is at `path`, of this kind, is ignored."""
        return self.list.ignored(path, kind)

    def of(self, path: RelPath, kind: Kind) -> bool:
        """Whether what is at `path`, of this kind, is ignored."""
        return self.list.ignored(path.text, kind)

    def troubles(self) -> list[Trouble]:
        """Return what is wrong with the file, if anything is."""
        found = [Trouble(Code.ERROR, self.trouble)] if self.trouble else []
        lines = self.list.problems
        if lines:
            more = f", and {len(lines) - 1:,} other lines are not" if len(lines) > 1 else ""
            text = f"Line {lines[0].line} is not used{more}: {lines[0].reason} `twistedp2p ignored` names each."
            found.append(Trouble(Code.ERROR, text))
        return found

    @property
    def content(self) -> bytes:
        """The content id of the text in force."""
        return blake3(self.list.text).digest()

    @property
    def digest(self) -> bytes:
        """What tells this list, with the defaults of this version, from another one."""
        return blake3("\n".join(text for text, _ in DEFAULTS).encode() + b"\0" + self.list.text).digest()

    def follow(self, row: Row | None) -> bool:
        """Go by what the row of the file says now; return whether another list is in force."""
        before = self.list
        if row is None:
            self.trouble = ""
            self._use(b"")
        elif row.kind != Kind.FILE:
            self.trouble = f"{IGNORE_NAME} is a folder: the last list that was a file is in force."
        elif row.content == self.content:
            self.trouble = ""
        else:
            self._use_row(row)
        if self.list.text != self._index.ignore_text:
            self._index.ignore_text = self.list.text
        return self.list is not before

    def _use_row(self, row: Row) -> None:
        try:
            text = self._read()
        except FileNotFoundError:
            return
        if text is None:
            return
        if len(text) > IGNORE_BYTES or blake3(text).digest() == row.content:
            self._use(text)
        # else other bytes were saved since: a look follows, and a row that names them

    def _use(self, text: bytes) -> None:
        if text == self.list.text:
            return
        try:
            self.list = parse_ignores(text)
        except ListUnusable as error:
            self.trouble = f"{error} Until then the last list is in force."
        else:
            self.trouble = ""

    def _read(self) -> bytes | None:
        """Return the text of the file, None if it can not be read; raises FileNotFoundError if there is none."""
        try:
            return text_on(self._disk)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.trouble = f"{IGNORE_NAME} can not be read ({error.strerror}): the last list is in force."
            return None


def list_in(folder: Path) -> Ignores:
    """Return the list as it lies in `folder`, which no peer serves; the default one if there is no usable one."""
    try:
        with closing(RealDisk(os.fsencode(folder))) as disk:
            return list_on(disk)
    except (OSError, ListUnusable, FolderUnusable):
        return parse_ignores()
