"""The member handshake: proofs of membership as they travel in the first frames.

The dialler shows its proof first; the acceptor checks it before it sends a byte, and a peer (not a tracker)
answers with its own. What a proof signs stands in `identity.proof`.
"""

from __future__ import annotations

from twistedp2p.identity.device import node_id_of
from twistedp2p.identity.proof import Channel, Role, check_proof, make_proof
from twistedp2p.identity.proof import Proof as SignedProof
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import NodeId, Proof

__all__ = ["acceptor_of", "dialler_of", "prove", "verify"]


def prove(keys: ShareKeys, role: Role, channel: Channel, nonce: bytes) -> Proof:
    """Return the message by which this side, in `role`, proves on `channel` that it has `keys`.

    `nonce` is 16 fresh random bytes.
    """
    proof = make_proof(keys, role, channel, nonce)
    return Proof(proof.share_id, proof.member_public, proof.nonce, proof.signature)


def verify(proof: Proof, role: Role, channel: Channel, share_id: bytes | None) -> None:
    """Return if the other side, in `role`, is a member of `share_id` (None: of whatever it names).

    Raises `BadProof` otherwise: abort, and say nothing.
    """
    signed = SignedProof(proof.share_id, proof.member_public, proof.nonce, proof.signature)
    check_proof(signed, role, channel, share_id)


def dialler_of(channel: Channel) -> NodeId:
    """Return the node id of the side that dialled."""
    return node_id_of(channel.dialler_spki)


def acceptor_of(channel: Channel) -> NodeId:
    """Return the node id of the side that was dialled."""
    return node_id_of(channel.acceptor_spki)
