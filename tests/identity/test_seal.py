"""Sealing of records: determinism, secrecy of length, and refusal of whatever a member did not seal."""

from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import ProtocolViolation
from twistedp2p.identity.seal import format_of, item_key, seal, unseal
from twistedp2p.identity.share import ShareKeys
from twistedp2p.limits import RECORD_BYTES, SEAL_STEP_BYTES

KEYS = ShareKeys.derive(bytes(range(16)), False)
OTHERS = ShareKeys.derive(bytes(16), False)


class SealTests(SynchronousTestCase):
    """From a record to a blob and back."""

    def test_vectors(self) -> None:
        """A record has one blob and one key for ever, so that members of all versions agree."""
        blob = seal(KEYS, b"record", 1)
        self.assertEqual(
            blob.hex(),
            "0195132d4f2e64a5e93930dde47c773f945a59bba201171bb0b6d16011b60150dde942015077c33b3452bc2c3e1af4660b1a96"
            "cc9076c414f48aa41d002fdd14f937a640d7b3b9f7636ff178392dc7a92d",
        )
        self.assertEqual(item_key(blob).hex(), "11b390a46284adedc6f07ab816e158f2")
        self.assertEqual(item_key(blob), blake3(blob).digest()[:16])
        self.assertEqual(item_key(seal(KEYS, b"", 255)).hex(), "623243621d599f60e561272cd0cfd3a6")

    @given(st.binary(max_size=300), st.integers(0, 255))
    def test_round_trip(self, record: bytes, format: int) -> None:
        """What was sealed comes back, and the format stands in clear at the front."""
        blob = seal(KEYS, record, format)
        self.assertEqual(unseal(KEYS, blob), record)
        self.assertEqual(format_of(blob), format)
        self.assertEqual(seal(ShareKeys.derive(bytes(range(16)), False), record, format), blob)

    def test_records_that_look_like_padding(self) -> None:
        """A record of the bytes that pad it comes back whole."""
        for record in (b"\x80", b"\0", b"\x80" + bytes(62), b"\x80" + bytes(63), bytes(64), b"a\x80\0\0"):
            self.assertEqual(unseal(KEYS, seal(KEYS, record, 1)), record)

    def test_size_in_steps(self) -> None:
        """The size of a blob tells only in how many steps of 64 bytes the record fits."""
        for size, steps in ((0, 1), (1, 1), (63, 1), (64, 2), (127, 2), (128, 3)):
            self.assertEqual(len(seal(KEYS, bytes(size), 1)), 17 + steps * SEAL_STEP_BYTES)

    def test_longest(self) -> None:
        """The longest record that fits is sealed and taken; one more byte is not."""
        longest = (RECORD_BYTES - 17) // SEAL_STEP_BYTES * SEAL_STEP_BYTES - 1
        blob = seal(KEYS, bytes(longest), 1)
        self.assertLessEqual(len(blob), RECORD_BYTES)
        self.assertEqual(unseal(KEYS, blob), bytes(longest))
        with self.assertRaises(ValueError):
            seal(KEYS, bytes(longest + 1), 1)
        padded = bytes(longest + 1) + b"\x80" + bytes(63)
        with self.assertRaises(ProtocolViolation):
            unseal(KEYS, b"\x01" + KEYS.sealing.encrypt(padded, [b"\x01", KEYS.share_id]))

    def test_every_byte_counts(self) -> None:
        """A blob with any one byte changed, the format included, is refused."""
        blob = seal(KEYS, b"a record", 1)
        for at in range(len(blob)):
            damaged = bytearray(blob)
            damaged[at] ^= 1
            with self.assertRaises(ProtocolViolation):
                unseal(KEYS, bytes(damaged))

    def test_every_length(self) -> None:
        """A blob that is cut or extended anywhere is refused."""
        blob = seal(KEYS, bytes(100), 1)
        for size in range(len(blob)):
            with self.assertRaises(ProtocolViolation):
                unseal(KEYS, blob[:size])
        for more in (1, 16, 64):
            with self.assertRaises(ProtocolViolation):
                unseal(KEYS, blob + bytes(more))

    def test_other_share(self) -> None:
        """A blob of another share is refused, and so is one sealed by these keys in another share's name."""
        with self.assertRaises(ProtocolViolation):
            unseal(OTHERS, seal(KEYS, b"a record", 1))
        elsewhere = b"\x01" + KEYS.sealing.encrypt(b"\x80" + bytes(63), [b"\x01", OTHERS.share_id])
        with self.assertRaises(ProtocolViolation):
            unseal(KEYS, elsewhere)

    def test_padded_otherwise(self) -> None:
        """A member can not make a second blob of a record by padding it differently."""
        for padded in (b"a\x80" + bytes(126), bytes(64), b"a" * 64, b"a" * 63 + b"\x80" + bytes(64)):
            blob = b"\x01" + KEYS.sealing.encrypt(padded, [b"\x01", KEYS.share_id])
            with self.assertRaises(ProtocolViolation):
                unseal(KEYS, blob)

    def test_empty(self) -> None:
        """An empty blob has no format."""
        with self.assertRaises(ProtocolViolation):
            format_of(b"")
