"""What a server of named files asks of the files: the seam behind which a folder, or a list of things to send, stands.

Nothing here blocks the reactor's thread. Paths have passed `paths.RelPath`, or are "", the top itself. What fails,
fails with a class of `errors` whose sentence may go to the other side: it names nothing outside of what is served.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from twistedp2p.errors import FileChanged, TwistedP2PError
from twistedp2p.transfer.files.messages import FileEntry, ListFolder, PutFile

__all__ = ["FileSource", "OpenedFile", "SmallFile", "Upload", "WritableSource", "check_range"]


@frozen
class SmallFile:
    """A small file as it was read: its content id (BLAKE3, 32 bytes) and its bytes."""

    content: bytes
    data: bytes


class OpenedFile(Protocol):
    """A file that is being read."""

    size: int

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Return these bytes; fails with `FileChanged` if the file is not what it was any more."""

    def close(self) -> None:
        """Let go of it; may be called while a read is under way, which then ends first."""


def check_range(path: str, opened: OpenedFile, offset: int, length: int) -> None:
    """Raise `FileChanged` unless a file has these bytes: whoever asks for them saw it when it was longer."""
    if offset + length > opened.size:
        raise FileChanged(f"{path} is shorter than that.")


class FileSource(Protocol):
    """Files that can be listed and read, by path and token."""

    def listing(self, asked: ListFolder) -> AsyncIterator[Sequence[FileEntry]]:
        """Yield the entries in the order of the components of their paths, a page at a time.

        A page has at most `limits.LIST_ITEMS` entries and may be empty, when looking takes long. Raises `NoSuchFile`.
        """

    def open(self, path: str, token: bytes) -> Deferred[OpenedFile]:
        """Open a file; fails with `NoSuchFile` or `FileChanged`."""

    def read_range(self, path: str, token: bytes, offset: int, length: int) -> Deferred[bytes]:
        """Return a range of a file that is short enough to be held; fails as `open` does, and beyond its end.

        It costs one turn in a worker thread, where opening, reading and closing take three.
        """

    def read_small(self, files: Sequence[tuple[str, bytes]]) -> Deferred[list[SmallFile | TwistedP2PError]]:
        """Return small files by (path, token), each with its content id, or why not."""

    def content_of(self, path: str, token: bytes, progress: Callable[[int], object]) -> Deferred[bytes]:
        """Return the content id of a file; `progress` hears now and then, in the reactor's thread, bytes hashed."""

    def received(self, files: int, size: int, accepted: bool) -> None:
        """The other side says that it has all that it wanted, `size` bytes, or that it wants nothing."""


class Upload(Protocol):
    """A file that is being put."""

    offset: int
    """How much of that very content is here already: the first byte that is wanted."""
    present: bool
    """Whether the file lies there already, just so; nothing more is to do."""

    def write(self, data: bytes) -> Deferred[None]:
        """Take the next bytes."""

    def finish(self) -> Deferred[None]:
        """All came: verify it and put it in place.

        Fails with `CorruptContent`, with `AlreadyThere` if something took the name meanwhile, or with `NoSpace`.
        """

    def close(self) -> None:
        """Let go of it; what came is kept for the next try, unless it was finished or found to be wrong."""


class WritableSource(FileSource, Protocol):
    """Files that can be changed too."""

    def put(self, asked: PutFile) -> Deferred[Upload]:
        """Begin to put a file, or go on; fails with `AlreadyThere`, `NoSpace`, `NotWritable` or `BadPath`."""

    def remove(self, path: str, deep: bool) -> Deferred[None]:
        """Remove a file or a folder; fails with `NoSuchFile`, or `AlreadyThere` if a folder is not empty."""

    def rename(self, path: str, to: str, overwrite: bool) -> Deferred[None]:
        """Rename a file or folder; fails with `NoSuchFile` or `AlreadyThere`."""

    def make_folder(self, path: str) -> Deferred[None]:
        """Make a folder and those above it; fails with `AlreadyThere` if a file is in the way."""
