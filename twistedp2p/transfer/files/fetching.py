"""What small and larger files have in common while they are fetched."""

from __future__ import annotations

from attrs import frozen

from twistedp2p.disk.seam import Disk
from twistedp2p.transfer.files.anew import Anew
from twistedp2p.transfer.files.ledger import Ledger
from twistedp2p.transfer.files.old_parts import OldParts
from twistedp2p.transfer.files.on_disk import InThread
from twistedp2p.transfer.files.pending import Flight
from twistedp2p.transfer.files.present import Present
from twistedp2p.transfer.files.tasks import Tasks

__all__ = ["Fetching"]


@frozen(eq=False)
class Fetching:
    """What one `Downloads` fetches with."""

    flight: Flight
    """What is asked for at a time."""
    disk: Disk
    """The folder that targets are names in."""
    in_thread: InThread
    """Runs what blocks; of one file one call at a time."""
    old: OldParts
    """Parts that earlier runs left."""
    present: Present
    """Compares with what is here."""
    ledger: Ledger
    """Hears what happens to the files."""
    anew: Anew
    """Begins anew what changed."""
    tasks: Tasks
    """Runs what nobody waits for."""
