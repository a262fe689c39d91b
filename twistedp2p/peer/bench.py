"""What works on one shared folder, put together: its names, parts, trash, eye, and the hands of the planner. Blocks."""

from __future__ import annotations

from collections.abc import Callable

from twistedp2p.paths import NameRules
from twistedp2p.peer.borrowed import ABILITIES
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.executor import Executor
from twistedp2p.peer.folder.mark import PARTS
from twistedp2p.peer.folder.names import DiskNames
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.publish import Publisher
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.ignoring import Ignoring
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.peer.member import Member
from twistedp2p.peer.purging import Purger
from twistedp2p.peer.recovery import Recovery

__all__ = ["Bench"]


class Bench:
    """The tools for one folder.

    Args:
        member: the folder, opened.
        index: its index, opened.
        seconds: monotonic time.
        wall: seconds since 1970, for names of days and to tell what is younger.
        entropy: random bytes.
        waiting: which paths are not quiet yet.
    """

    def __init__(
        self,
        member: Member,
        index: Index,
        *,
        seconds: Callable[[], float],
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
        waiting: Callable[[str], bool],
    ) -> None:
        durable = member.durable
        self.disk = member.disk
        self.rules = NameRules.PORTABLE if member.keys.portable else NameRules.POSIX
        self.names = DiskNames()
        self.ignoring = Ignoring(self.disk, index)
        index.ignored = self.ignoring
        self.parts = PartStore(self.disk, seconds)
        self.trash = TrashStore(self.disk, entropy)
        self.eye = Eye(
            self.disk,
            self.names,
            index,
            rules=self.rules,
            durable=durable,
            ignored=self.ignoring.of,
            waiting=waiting,
        )
        self.contents = Contents(self.disk, self.names, index, self.parts, self.trash, self.eye)
        self.recovery = Recovery(index=index, eye=self.eye, trash=self.trash)
        self.purger = Purger(index, self.trash, days=member.trash_days, wall=wall)
        self._tidies = member.unwritable is None
        abilities = self.disk.probe(PARTS) if self._tidies else ABILITIES
        self.executor = Executor(
            disk=self.disk,
            index=index,
            eye=self.eye,
            publisher=Publisher(self.disk, self.names, abilities),
            parts=self.parts,
            trash=self.trash,
            contents=self.contents,
            recovery=self.recovery,
            durable=durable,
            wall=wall,
        )

    def tidy(self) -> None:
        """Remove what an earlier life of this process left half made; before anything else begins."""
        if not self._tidies:
            return
        self.contents.forget_duplicates()
        self.parts.remove_orphans()
