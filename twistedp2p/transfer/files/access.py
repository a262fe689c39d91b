"""Who may read and write named files, and how a client proves that it is one of them."""

from __future__ import annotations

from attrs import frozen

from twistedp2p.errors import BadProof
from twistedp2p.framing.handshake import verify
from twistedp2p.identity.proof import Channel, Role
from twistedp2p.transfer.files.messages import FilesHello

__all__ = ["Access"]


@frozen
class Access:
    """Who may do what.

    `readers` and `writers` are the names (20 bytes) of the keys that let one read, or write too; with `anonymous`,
    who proves nothing may read.
    """

    readers: frozenset[bytes] = frozenset()
    writers: frozenset[bytes] = frozenset()
    anonymous: bool = False

    def may_write(self, hello: FilesHello, channel: Channel, *, dialled: bool) -> bool:
        """Return whether a client may write, by what it says first; raises `BadProof` unless it may read.

        `channel` has the keys of both sides; `dialled`: this side dialled the client.
        """
        if hello.proof is None:
            if not self.anonymous:
                raise BadProof("The other side has no invite.")
            return False
        share_id = hello.proof.share_id
        if share_id not in self.readers | self.writers:
            raise BadProof("The other side has the invite of another server.")
        verify(hello.proof, Role.ACCEPT_FILES if dialled else Role.DIAL_FILES, channel, share_id)
        return share_id in self.writers
