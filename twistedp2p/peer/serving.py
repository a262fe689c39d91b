"""Serving contents to other members: from a file of the folder, the trash or a part, never from a changed file."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from twistedp2p.disk.seam import Disk, Name, OpenFile
from twistedp2p.errors import NotHeld
from twistedp2p.limits import SMALL_BYTES
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.names import DiskNames, signature_of
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.values import Signature
from twistedp2p.peer.workers import Workers
from twistedp2p.transfer.hashing import content_id_of
from twistedp2p.transfer.server import OpenContent
from twistedp2p.versions import Kind

__all__ = ["Serving"]


class Serving:
    """What the transfer conversation asks for contents; every answer comes from a bulk thread."""

    def __init__(
        self, *, disk: Disk, names: DiskNames, index: Index, parts: PartStore, trash: TrashStore, workers: Workers
    ) -> None:
        self._disk = disk
        self._names = names
        self._index = index
        self._parts = parts
        self._trash = trash
        self._workers = workers

    def read_contents(self, contents: Sequence[bytes]) -> Deferred[list[bytes | None]]:
        """Return these small contents, None for each that is not held (any more)."""
        return self._workers.bulk(lambda: [self._small(content) for content in contents])

    def open(self, content: bytes) -> Deferred[OpenContent]:
        """Open a content for reading ranges of it; fails with `NotHeld`."""
        return self._workers.bulk(self._open, content)

    def manifest(self, manifest: bytes) -> Deferred[bytes]:
        """Return an encoded manifest; fails with `NotHeld`."""

        def find() -> bytes:
            found = self._index.manifest(manifest)
            if found is None:
                raise NotHeld("the list of chunks is not known here")
            return found

        return self._workers.bulk(find)

    def _places(self, content: bytes) -> list[tuple[Name, Signature | None]]:
        """Return where the content may lie, and the signature that it must have there (None: any)."""
        places: list[tuple[Name, Signature | None]] = [
            (self._names.of(RelPath(path)), row.signature)
            for path, row in self._index.paths_with_content(content)
            if row.kind == Kind.FILE and row.signature is not None
        ]
        if self._parts.has(content):
            places.append((self._parts.locate(content), None))
        places += [(self._trash.locate(entry.name), None) for entry in self._index.trash_with_content(content)]
        return places

    def _small(self, content: bytes) -> bytes | None:
        for name, _ in self._places(content):
            try:
                with self._disk.open(name) as opened:
                    data = opened.read_at(0, SMALL_BYTES + 1)
            except OSError:
                continue
            if len(data) <= SMALL_BYTES and content_id_of(data) == content:
                return data
        return None

    def _open(self, content: bytes) -> OpenContent:
        for name, signature in self._places(content):
            try:
                opened = self._disk.open(name)
            except OSError:
                continue
            try:
                now = signature_of(opened.stat())
            except OSError:
                opened.close()
                continue
            if signature is None or now == signature:
                return _Held(opened, now, self._workers)
            opened.close()
        raise NotHeld("the content is not here, or not any more")


class _Held:
    """A content that is open; it is given up as soon as the file is seen to have changed."""

    def __init__(self, opened: OpenFile, signature: Signature, workers: Workers) -> None:
        self._opened = opened
        self._signature = signature
        self._workers = workers
        self.size = signature.size

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Return these bytes; fails with `NotHeld` if the file changed since it was opened."""
        return self._workers.bulk(self._read, offset, length)

    def _read(self, offset: int, length: int) -> bytes:
        try:
            data = self._opened.read_at(offset, length)
            now = signature_of(self._opened.stat())
        except OSError as error:
            raise NotHeld("the disk can not read the file") from error
        if len(data) != length or now != self._signature:
            raise NotHeld("the file changed while it was read")
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()
