"""How far a download or upload is, as values: what bars and scripts show."""

from __future__ import annotations

from enum import Enum

from attrs import define, frozen

from twistedp2p.errors import TwistedP2PError

__all__ = ["FileEvent", "Totals", "What"]


class What(Enum):
    """What happened to a file."""

    BEGUN = "begun"  # its bytes begin to move, from `done` on
    MOVED = "moved"  # some of them have, `done` by now
    DONE = "done"  # it is in place, verified
    SKIPPED = "skipped"  # the very file was there already
    FAILED = "failed"


@frozen
class FileEvent:
    """Something happened to one file: its path at the server, its size, and how many bytes of it are done.

    `target` is the path that it has here, if that is another one than was wanted: that name is taken.
    """

    what: What
    path: str
    size: int
    done: int = 0
    error: TwistedP2PError | None = None
    target: str = ""


@define
class Totals:
    """All files that are known so far, and what became of them; bytes are those of the files, not of the wire."""

    files: int = 0
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0
    """Of files in place, of those that were there already, and of those under way."""
    files_skipped: int = 0
    files_failed: int = 0
    bytes_resumed: int = 0
    """Bytes that an earlier try had left here."""
    moved: int = 0
    """Bytes that moved in this run."""

    @property
    def ended(self) -> bool:
        """Whether something became of every file."""
        return self.files_done + self.files_failed == self.files

    def began(self, event: FileEvent) -> None:
        """A file begins where an earlier try ended."""
        self.bytes_resumed += event.done
        self.bytes_done += event.done
