"""Read one file of the shared folder: its content id and its chunks in one pass, or why there is nothing to share."""

from __future__ import annotations

from attrs import frozen

from twistedp2p.disk.seam import Disk, FileKind, Name, NotRegular, OpenFile, OtherDevice, Stat
from twistedp2p.errors import SizeChanged
from twistedp2p.limits import CONTENT_BYTES, READ_BYTES, TIMESTAMP_TICK_NS
from twistedp2p.peer.folder.names import signature_of
from twistedp2p.peer.troubles import Trouble, trouble_of
from twistedp2p.peer.values import FOLDER_CONTENT, Observed
from twistedp2p.transfer.chunking import Chunker, Hashed
from twistedp2p.versions import Kind

__all__ = ["Absent", "Changing", "NotShared", "Read", "Reading", "Unreadable", "read"]


@frozen
class Read:
    """A file or folder as it was read; `manifest` is the encoded manifest, empty for small contents and folders.

    `observed.manifest` is the manifest's id.
    """

    observed: Observed
    manifest: bytes = b""


@frozen
class Absent:
    """There is nothing at the name, or no folder above it."""


@frozen
class Changing:
    """Somebody writes to the file: read it again when it is quiet."""


@frozen
class NotShared:
    """Something that is not shared lies there; `reason` is a sentence."""

    reason: str


@frozen
class Unreadable:
    """The disk or its permissions refuse to give the file: it is not absent, and is tried again."""

    trouble: Trouble

    @property
    def reason(self) -> str:
        """What is wrong, as a sentence."""
        return self.trouble.text


Reading = Read | Absent | Changing | NotShared | Unreadable


def read(disk: Disk, name: Name) -> Reading:
    """Return what lies at `name`, never following a link. Blocks for as long as it takes to read the file.

    A file that changed while it was read is `Changing`. So is one whose mtime is this very moment's: a later
    write within the same tick of the file system's clock would leave no trace in its signature.
    """
    try:
        with disk.open(name) as opened:
            return _read(disk, opened)
    except NotRegular as error:
        return _not_regular(disk, name, error.kind)
    except (FileNotFoundError, NotADirectoryError):
        return Absent()
    except OtherDevice:
        return NotShared("It is on another disk that is mounted inside the folder.")
    except OSError as error:
        return Unreadable(trouble_of(error, reading=True))


def _read(disk: Disk, opened: OpenFile) -> Reading:
    before = opened.stat()
    if before.size > CONTENT_BYTES:
        return NotShared(f"It is larger than {CONTENT_BYTES >> 30} GiB, the most that can be shared.")
    chunker = Chunker(before.size)
    try:
        offset = 0
        while data := opened.read_at(offset, min(READ_BYTES, before.size - offset)):
            chunker.feed(data)
            offset += len(data)
        hashed = chunker.finish()
    except SizeChanged:
        return Changing()
    # `now_ns` after the reading: whoever writes from here on stamps the file later than that.
    if opened.stat() != before or 0 <= disk.now_ns() - before.mtime_ns < TIMESTAMP_TICK_NS:
        return Changing()
    return _file(hashed, before)


def _file(hashed: Hashed, stat: Stat) -> Read:
    signature = signature_of(stat)
    manifest = hashed.manifest
    observed = Observed(
        kind=Kind.FILE,
        content=hashed.content_id,
        size=hashed.size,
        mtime_ns=stat.mtime_ns,
        executable=signature.executable,
        manifest=b"" if manifest is None else manifest.manifest_id,
        signature=signature,
    )
    return Read(observed, b"" if manifest is None else manifest.encode())


def _not_regular(disk: Disk, name: Name, kind: FileKind) -> Reading:
    if kind is not FileKind.FOLDER:
        return NotShared(f"It is {kind.value}; only files and folders are shared.")
    try:
        stat = disk.stat(name)
    except FileNotFoundError:
        return Absent()
    if stat.kind is not FileKind.FOLDER:
        return Changing()
    return Read(Observed(Kind.FOLDER, FOLDER_CONTENT, mtime_ns=stat.mtime_ns, signature=signature_of(stat)))
