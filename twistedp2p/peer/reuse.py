"""The parts of a folder as the fetcher sees them: what this disk has of a content already is not fetched.

A large file that was edited shares most of its chunks with the version that lies here under its name. They are
copied from there into the part, sharing blocks where the file system can, and each is verified after it was copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twistedp2p.disk.seam import Disk
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.names import DiskNames
from twistedp2p.peer.folder.part import Part
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.read import Read
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.transfer.chunking import Manifest
from twistedp2p.versions import Kind

__all__ = ["ReusingParts"]


class ReusingParts:
    """Opens parts for the fetcher; every method blocks, in a bulk thread.

    `paths_wanting` gives the paths that wait for a content: what lies there now is the likeliest to be alike.
    """

    def __init__(
        self,
        *,
        parts: PartStore,
        index: Index,
        disk: Disk,
        names: DiskNames,
        eye: Eye,
        paths_wanting: Callable[[bytes], Iterable[str]],
    ) -> None:
        self._parts = parts
        self._index = index
        self._disk = disk
        self._names = names
        self._eye = eye
        self._paths_wanting = paths_wanting
        self.put_small = parts.put_small
        self.finish = parts.finish

    def open(self, content: bytes, size: int, manifest: Manifest | None) -> Part:
        """Return the part of a content, with the chunks that this disk has; its manifest is kept, to be served."""
        part = self._parts.open(content, size, manifest)
        if manifest is None:
            return part
        self._index.put_manifest(manifest.manifest_id, manifest.encode())
        try:
            for path in self._paths_wanting(content):
                if part.missing():
                    self._fill(part, manifest, path)
        except BaseException:
            part.close()
            raise
        return part

    def _fill(self, part: Part, manifest: Manifest, path: str) -> None:
        """Take from the file at `path` what it shares with the content; nothing if it can not be read."""
        row = self._index.row(path)
        if row is None or row.kind != Kind.FILE:
            return
        reading = self._eye.read(path)
        if not isinstance(reading, Read) or not reading.manifest:
            return
        old = Manifest.parse(reading.manifest)
        offsets = {digest: offset for (digest, _), offset in zip(old.chunks, old.offsets(), strict=True)}
        places = [
            (number, offsets[manifest.chunks[number][0]])
            for number in part.missing()
            if manifest.chunks[number][0] in offsets
        ]
        if not places:
            return
        try:
            with self._disk.open(self._names.of(RelPath(path))) as opened:
                part.fill_from(opened, places)
        except (FileNotFoundError, NotADirectoryError):
            return
