"""Proof of membership: one signature, good for one TLS connection in one direction.

    dialler                                        tracker, or accepting peer
    1. Proof as DIAL_TRACKER, DIAL_PEER     -->    checks it; aborts without a byte if it is bad
       or DIAL_FILES (ACCEPT_FILES by a client that its server dialled)
    2. checks it                            <--    a peer: Proof as ACCEPT_PEER

The signature covers the exporter of the TLS connection (RFC 8446 section 7.5; RFC 9266), so that it can
be neither replayed nor relayed; the public keys of both ends; the role of the signer, so that it can not
be reflected; the name of the share; and a nonce. The key that signs is the share's, whose hash is the
share's name: a tracker verifies it without knowing any secret.
"""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from twistedp2p.errors import BadProof
from twistedp2p.identity.share import ShareKeys, share_id_of
from twistedp2p.messages.common import Proof

__all__ = ["EXPORTER_BYTES", "EXPORTER_LABEL", "NONCE_BYTES", "Channel", "Proof", "Role", "check_proof", "make_proof"]

EXPORTER_LABEL = b"EXPORTER-twistedp2p/1"
"""The label with which both ends export `EXPORTER_BYTES` of keying material, without a context."""
EXPORTER_BYTES = 32
NONCE_BYTES = 16
_LABEL = b"twistedp2p/1 proof of membership"


class Role(Enum):
    """Who signs, towards whom."""

    DIAL_TRACKER = b"dial tracker"
    DIAL_PEER = b"dial peer"
    ACCEPT_PEER = b"accept peer"
    DIAL_FILES = b"dial files"
    ACCEPT_FILES = b"accept files"


@frozen
class Channel:
    """One TLS connection, as both its ends know it; raises ValueError if there is no exporter or key."""

    exporter: bytes = field(repr=False)
    """32 bytes of keying material, exported with `EXPORTER_LABEL`."""
    dialler_spki: bytes
    """The public key of the end that dialled, DER."""
    acceptor_spki: bytes
    """The public key of the other end, DER."""

    def __attrs_post_init__(self) -> None:
        if len(self.exporter) != EXPORTER_BYTES or not self.dialler_spki or not self.acceptor_spki:
            raise ValueError("a proof needs a finished TLS connection with the keys of both ends")


def make_proof(keys: ShareKeys, role: Role, channel: Channel, nonce: bytes) -> Proof:
    """Return the proof, by one end of `channel` in `role`, that it has `keys`; `nonce` is 16 fresh bytes."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"the nonce of a proof has {NONCE_BYTES} bytes, not {len(nonce)}")
    signature = keys.member_key.sign(_signed(role, channel, keys.share_id, nonce))
    return Proof(share_id=keys.share_id, member_public=keys.member_public, nonce=nonce, signature=signature)


def check_proof(proof: Proof, role: Role, channel: Channel, share_id: bytes | None) -> None:
    """Return if the other end of `channel`, in `role`, is a member of `share_id`; else raise `BadProof`.

    A tracker passes None as `share_id`: it serves any share, and takes the name from the proof.
    """
    if len(proof.nonce) != NONCE_BYTES:
        raise BadProof("The proof of membership is malformed.")
    if share_id is not None and proof.share_id != share_id:
        raise BadProof("The other side is a member of another share.")
    if share_id_of(proof.member_public) != proof.share_id:
        raise BadProof("The key in the proof of membership is not that of the share.")
    try:
        key = Ed25519PublicKey.from_public_bytes(proof.member_public)
        key.verify(proof.signature, _signed(role, channel, proof.share_id, proof.nonce))
    except (InvalidSignature, ValueError):
        raise BadProof("The other side did not prove that it is a member of the share.") from None


def _signed(role: Role, channel: Channel, share_id: bytes, nonce: bytes) -> bytes:
    """Return what is signed: every field after its length (4 bytes, big-endian), so that none runs into another."""
    fields = (_LABEL, role.value, channel.exporter, channel.dialler_spki, channel.acceptor_spki, share_id, nonce)
    return b"".join(len(part).to_bytes(4, "big") + part for part in fields)
