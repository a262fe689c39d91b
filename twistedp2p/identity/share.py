"""What the secret of a share gives: one key for each purpose, and the name of the share.

All keys come from the 16 bytes of the secret by HKDF-SHA256 (RFC 5869). The purpose and the rules for
names are part of the derivation, so that two members who disagree about the names are in two shares.
Purposes that begin with "rekey" are kept for a later version.
"""

from __future__ import annotations

from attrs import field, frozen
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["SECRET_BYTES", "SHARE_ID_BYTES", "ShareKeys", "share_id_of"]

SECRET_BYTES = 16
SHARE_ID_BYTES = 20


def share_id_of(member_public: bytes) -> bytes:
    """Return the name of the share whose members have the public key `member_public` (32 bytes).

    The name certifies itself: who can sign by that key is a member, which a tracker verifies without a secret.
    """
    return blake3(member_public).digest(SHARE_ID_BYTES)


@frozen
class ShareKeys:
    """The keys of one share, as every member has them; compares, and is shown, without them."""

    share_id: bytes
    """20 bytes that name the share."""
    member_public: bytes
    """The public half of `member_key`, 32 bytes: what the share's name is the hash of."""
    portable: bool
    """Whether names must be usable on Windows too."""
    member_key: Ed25519PrivateKey = field(repr=False, eq=False)
    """Signs the proof of membership."""
    write_key: Ed25519PrivateKey = field(repr=False, eq=False)
    """Kept for invites that only read: those will not be able to derive it."""
    sealing: AESSIV = field(repr=False, eq=False)
    """Seals records for the tracker."""

    @classmethod
    def derive(cls, secret: bytes, portable: bool) -> ShareKeys:
        """Return the keys of the share of `secret` (16 bytes); raises ValueError for another length."""
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"a share's secret has {SECRET_BYTES} bytes, not {len(secret)}")
        names = b"portable" if portable else b"posix"

        def key(purpose: bytes, length: int) -> bytes:
            return HKDF(SHA256(), length, b"twistedp2p/1", purpose + b"/" + names).derive(secret)

        member_key = Ed25519PrivateKey.from_private_bytes(key(b"member", 32))
        member_public = member_key.public_key().public_bytes_raw()
        return cls(
            share_id=share_id_of(member_public),
            member_public=member_public,
            portable=portable,
            member_key=member_key,
            write_key=Ed25519PrivateKey.from_private_bytes(key(b"write", 32)),
            sealing=AESSIV(key(b"seal", 64)),
        )
