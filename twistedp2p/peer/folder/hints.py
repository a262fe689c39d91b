"""What a watch tells: hints that something happened at a path. They may be late, doubled or missing; scans are not."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from attrs import frozen

from twistedp2p.paths import RelPath

__all__ = ["Hint", "Listener", "What"]


class What(Enum):
    """What happened at a path."""

    CLOSED = "a program that could write to the file closed it"
    MODIFIED = "somebody writes to the file, and has it open"
    CREATED = "the file is new; somebody may have it open"
    GONE = "the file or folder was removed"
    MOVED_IN = "the file or folder was renamed to this path, or came from elsewhere"
    MOVED_AWAY = "the file or folder was moved out of the share"
    FOLDER = "the folder is new, with whatever is in it; what happens there from now on is seen"
    ATTRIB = "permissions or times of the file were changed"


@frozen
class Hint:
    """Something happened at `path`; for a rename inside the share, `moved_from` is the old path."""

    path: RelPath
    what: What
    moved_from: RelPath | None = None


class Listener(Protocol):
    """Who is told; called on the reactor's thread."""

    def hint(self, hint: Hint) -> None:
        """Something happened at one path."""

    def overflow(self) -> None:
        """Hints were lost: the folder must be scanned in full. The watch has begun anew and is complete again."""

    def limited(self, reason: str) -> None:
        """Part of the folder can not be watched, `reason` is a sentence: only scans see what happens there.

        Once until it is over; then `reason` is empty.
        """

    def root_gone(self) -> None:
        """The shared folder itself was moved, removed or unmounted."""
