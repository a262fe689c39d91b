"""Files that are to be fetched, and what is asked for at a time, whoever asks for it."""

from __future__ import annotations

from attrs import define, field

from twistedp2p.disk.seam import Name
from twistedp2p.errors import TwistedP2PError
from twistedp2p.transfer.files.client import FilesClient, is_passing
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.fair import Fair, Priority
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.parts import LocalPart
from twistedp2p.transfer.files.window import Window

__all__ = ["Flight", "Pending", "Range"]


@define(eq=False)
class Pending:
    """A file that is to be fetched."""

    entry: FileEntry
    wanted: Name
    """The name that was asked for."""
    priority: Priority
    tries: int = 1
    active: bool = False
    """Whether it is one of the larger files that are fetched at the same time."""
    part: LocalPart | None = None
    next: int = 0
    """The first byte that was not asked for yet."""
    again: list[tuple[int, int]] = field(factory=list)
    """Ranges (offset, length) that were asked for in vain."""
    came: dict[int, Range] = field(factory=dict)
    """Ranges that came, by their offsets, and are not written."""
    writing: bool = False
    target: Name = field(init=False)
    """The name that it gets: another one if that is taken, and if that was said."""

    def __attrs_post_init__(self) -> None:
        self.target = self.wanted

    @property
    def path(self) -> str:
        """Its path at the server."""
        return self.entry.path


@define(eq=False)
class Range:
    """Bytes of a file that were asked for, and what came of them."""

    offset: int
    length: int
    pieces: list[bytes | memoryview] = field(factory=list)


@define(eq=False)
class Flight:
    """What is asked for at a time: over which connection, whose turn it is, and how many bytes may still be."""

    client: FilesClient
    window: Window
    """How many bytes are asked for and not stored, and may be."""
    fair: Fair[Pending | Priority] = field(factory=Fair)
    """Larger files that want ranges, and priorities of which small files are ready to be asked for."""
    connection: FilesConnection | None = None

    def not_answered(self, error: TwistedP2PError) -> None:
        """A request failed; if that is because the connection is gone, the next one is dialled."""
        if is_passing(error):
            self.connection = None
