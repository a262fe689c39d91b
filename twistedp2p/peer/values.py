"""What a peer knows of its own disk: plain values that the rooms of a peer hand to each other."""

from __future__ import annotations

from attrs import frozen

from twistedp2p.versions import Dot, Kind

__all__ = ["FOLDER_CONTENT", "Intent", "Observed", "Row", "Signature", "Want"]

FOLDER_CONTENT = b""
"""The content id of a folder."""


@frozen
class Signature:
    """What tells a file from a changed one without reading it: device, inode, size, mtime and exec bit.

    The ctime is left out on purpose: the exchange that publishes a file changes it.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    executable: bool = False


@frozen
class Observed:
    """A file or folder as it was read from this disk: its content and the signature before and after reading."""

    kind: Kind
    content: bytes
    size: int = 0
    mtime_ns: int = 0
    executable: bool = False
    manifest: bytes = b""
    signature: Signature | None = None


@frozen
class Row:
    """What this peer put or saw on its disk at a path.

    `base` is the dot that was on disk, None for a folder that exists only because something is in it.
    `signature` is None when it is not known (any more): the file is then read again.
    """

    base: Dot | None
    kind: Kind
    content: bytes
    executable: bool = False
    signature: Signature | None = None


@frozen
class Intent:
    """A publish under way, committed before anything is renamed, so that a restart can finish or undo it.

    `before` is the row that was there; `content` is what will be there, None for a removal; `trash` is the
    name in the trash folder that gets what is displaced ("" if nothing is).
    """

    path: str
    before: Row | None
    dot: Dot
    kind: Kind
    content: bytes | None
    executable: bool = False
    trash: str = ""


@frozen
class Want:
    """A content that is needed here: as winner of `path`, or as a losing version that needs a copy."""

    path: str
    dot: Dot
    content: bytes
    size: int
    manifest: bytes
    losing: bool = False
