"""What the secret of a share gives."""

from __future__ import annotations

import hashlib
import hmac

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.identity.share import ShareKeys, share_id_of

SECRET = bytes(range(16))


def hkdf(info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 of SECRET, written out from RFC 5869."""
    extracted = hmac.digest(b"twistedp2p/1", SECRET, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


class ShareKeysTests(SynchronousTestCase):
    """Derivation, identity and secrecy of the keys."""

    def test_vectors(self) -> None:
        """A secret names one share for each rule of names, for ever: another value would split every share."""
        self.assertEqual(ShareKeys.derive(SECRET, False).share_id.hex(), "3de13a18481b95c503a238661f426179962aad1d")
        self.assertEqual(ShareKeys.derive(SECRET, True).share_id.hex(), "51f6dad34b951abf80689bab882243caf0ae35cd")
        self.assertEqual(ShareKeys.derive(bytes(16), False).share_id.hex(), "2fbea2dc1844cdfbf2a40381efb7bbf23cb48ef0")

    def test_derivation(self) -> None:
        """Each key is HKDF-SHA256 of the secret under its own purpose."""
        for portable, names in ((False, b"posix"), (True, b"portable")):
            keys = ShareKeys.derive(SECRET, portable)
            self.assertEqual(keys.portable, portable)
            for key, purpose in ((keys.member_key, b"member/"), (keys.write_key, b"write/")):
                self.assertEqual(key.private_bytes_raw(), hkdf(purpose + names))
            public = Ed25519PrivateKey.from_private_bytes(hkdf(b"member/" + names)).public_key().public_bytes_raw()
            self.assertEqual(keys.member_public, public)

    def test_share_id(self) -> None:
        """The name of a share is the start of the BLAKE3 hash of its member key."""
        keys = ShareKeys.derive(SECRET, False)
        self.assertEqual(keys.share_id, blake3(keys.member_public).digest()[:20])
        self.assertEqual(keys.share_id, share_id_of(keys.member_public))

    def test_equality(self) -> None:
        """Keys of one share are equal, and those of another secret or rule of names are not."""
        keys = ShareKeys.derive(SECRET, False)
        self.assertEqual(keys, ShareKeys.derive(SECRET, False))
        self.assertEqual(hash(keys), hash(ShareKeys.derive(SECRET, False)))
        self.assertNotEqual(keys, ShareKeys.derive(SECRET, True))
        self.assertNotEqual(keys, ShareKeys.derive(bytes(16), False))

    def test_length(self) -> None:
        """A secret has sixteen bytes."""
        for size in (0, 15, 17, 32):
            with self.assertRaises(ValueError):
                ShareKeys.derive(bytes(size), False)

    def test_shows_no_secret(self) -> None:
        """The representation has the public half and no other field."""
        keys = ShareKeys.derive(SECRET, False)
        self.assertEqual(
            repr(keys),
            f"ShareKeys(share_id={keys.share_id!r}, member_public={keys.member_public!r}, portable=False)",
        )
