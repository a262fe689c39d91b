"""Proof of membership: for whom and where it holds, and that it holds nowhere else."""

from __future__ import annotations

from itertools import product

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import BadProof
from twistedp2p.identity.proof import Channel, Role, _signed, check_proof, make_proof
from twistedp2p.identity.share import ShareKeys, share_id_of
from twistedp2p.messages.common import Proof

KEYS = ShareKeys.derive(bytes(range(16)), False)
OTHERS = ShareKeys.derive(bytes(16), False)
CHANNEL = Channel(bytes(32), b"dialler", b"acceptor")
NONCE = bytes(16)


def proof_of(keys: ShareKeys = KEYS, role: Role = Role.DIAL_PEER, channel: Channel = CHANNEL) -> Proof:
    """Return a proof; what is not said is the usual."""
    return make_proof(keys, role, channel, NONCE)


class ProofTests(SynchronousTestCase):
    """What convinces the other side, and what does not."""

    def test_vectors(self) -> None:
        """For one channel and nonce the signature never changes, so that all versions verify it."""
        for role, expected in {
            Role.DIAL_TRACKER: "804532ba235eb6a4f4bcdb291073c3c45d00c22b61ad4e97448049c05ebdd0cb"
            "1136584be04bf3cf75af2d45c779467b89407999ed9eb99f95fb05c90be7440a",
            Role.DIAL_PEER: "bc1eba53bc24f3a27c437e05155a52ec28b4728d31fe637c044718ad4f669bdb"
            "d5c618cec991ad565178a9655c82ac4906cd38019f04be579880cf718f83070f",
            Role.ACCEPT_PEER: "6b229d692bad2581905fdd45139da5bfaaf1ac5b5b728888c1a3f391b18171e1"
            "8d2d32395a9788a339be8d9f37dec8eb21e821c7ce5d52911dedc2dc9ddef008",
        }.items():
            self.assertEqual(proof_of(role=role).signature.hex(), expected)

    def test_what_is_signed(self) -> None:
        """The signature is Ed25519 over the fields, each after its length; written out here from the protocol."""
        signed = b"".join(
            len(part).to_bytes(4, "big") + part
            for part in (
                *(b"twistedp2p/1 proof of membership", b"dial peer", bytes(32), b"dialler", b"acceptor"),
                *(KEYS.share_id, NONCE),
            )
        )
        Ed25519PublicKey.from_public_bytes(KEYS.member_public).verify(proof_of().signature, signed)

    def test_member(self) -> None:
        """A member convinces in every role, whether the other side expects a share or serves any."""
        for role in Role:
            proof = proof_of(role=role)
            check_proof(proof, role, CHANNEL, KEYS.share_id)
            check_proof(proof, role, CHANNEL, None)

    def test_reflected(self) -> None:
        """A proof in one role is none in another: it can not be sent back, nor passed on to a tracker."""
        for made, expected in product(Role, Role):
            if made is not expected:
                with self.assertRaises(BadProof):
                    check_proof(proof_of(role=made), expected, CHANNEL, KEYS.share_id)

    def test_other_channel(self) -> None:
        """A proof holds neither in another TLS session nor between other keys, nor with the ends swapped."""
        for channel in (
            Channel(b"\1" * 32, b"dialler", b"acceptor"),
            Channel(bytes(32), b"somebody", b"acceptor"),
            Channel(bytes(32), b"dialler", b"somebody"),
            Channel(bytes(32), b"acceptor", b"dialler"),
            Channel(bytes(32), b"diallera", b"cceptor"),
        ):
            with self.assertRaises(BadProof):
                check_proof(proof_of(), Role.DIAL_PEER, channel, KEYS.share_id)

    def test_other_share(self) -> None:
        """A member of another share is refused, unless any share is served."""
        proof = proof_of(OTHERS)
        check_proof(proof, Role.DIAL_PEER, CHANNEL, None)
        with self.assertRaises(BadProof):
            check_proof(proof, Role.DIAL_PEER, CHANNEL, KEYS.share_id)

    def test_claimed_share(self) -> None:
        """Nobody enters a share by putting its name, or its public key, onto a signature of their own."""
        own, theirs = proof_of(OTHERS), proof_of(KEYS)
        for forged in (
            evolve(own, share_id=KEYS.share_id),
            evolve(own, share_id=KEYS.share_id, member_public=KEYS.member_public),
            evolve(theirs, member_public=OTHERS.member_public),
            evolve(theirs, signature=own.signature),
            make_proof(evolve(OTHERS, share_id=KEYS.share_id), Role.DIAL_PEER, CHANNEL, NONCE),
        ):
            for expected in (KEYS.share_id, None):
                with self.assertRaises(BadProof):
                    check_proof(forged, Role.DIAL_PEER, CHANNEL, expected)

    def test_nonce(self) -> None:
        """The nonce is part of what is signed."""
        with self.assertRaises(BadProof):
            check_proof(evolve(proof_of(), nonce=b"\1" * 16), Role.DIAL_PEER, CHANNEL, None)

    @given(
        st.sampled_from(["share_id", "member_public", "nonce", "signature"]), st.integers(0, 511), st.integers(0, 255)
    )
    def test_mutated(self, name: str, at: int, value: int) -> None:
        """A proof with one byte changed in any field is refused."""
        proof = proof_of()
        changed = bytearray(getattr(proof, name))
        at %= len(changed)
        if changed[at] == value:
            return
        changed[at] = value
        with self.assertRaises(BadProof):
            check_proof(evolve(proof, **{name: bytes(changed)}), Role.DIAL_PEER, CHANNEL, None)

    @given(st.builds(Proof, *[st.binary(max_size=70)] * 4))
    def test_any_length(self, proof: Proof) -> None:
        """Fields of any length give BadProof and no other error."""
        with self.assertRaises(BadProof):
            check_proof(proof, Role.DIAL_TRACKER, CHANNEL, None)

    def test_lengths(self) -> None:
        """A well signed proof whose nonce has another length is refused, and so is a key of another length."""
        for size in (0, 15, 17):
            with self.assertRaises(ValueError):
                make_proof(KEYS, Role.DIAL_PEER, CHANNEL, bytes(size))
            signature = KEYS.member_key.sign(_signed(Role.DIAL_PEER, CHANNEL, KEYS.share_id, bytes(size)))
            with self.assertRaises(BadProof):
                check_proof(
                    evolve(proof_of(), nonce=bytes(size), signature=signature), Role.DIAL_PEER, CHANNEL, None
                )
        for key in (b"", bytes(31), bytes(33)):
            with self.assertRaises(BadProof):
                check_proof(
                    evolve(proof_of(), share_id=share_id_of(key), member_public=key), Role.DIAL_PEER, CHANNEL, None
                )

    def test_unfinished_channel(self) -> None:
        """Without exporter or keys there is no channel to prove anything on."""
        for exporter, dialler, acceptor in (
            (b"", b"d", b"a"),
            (bytes(31), b"d", b"a"),
            (bytes(32), b"", b"a"),
            (bytes(32), b"d", b""),
        ):
            with self.assertRaises(ValueError):
                Channel(exporter, dialler, acceptor)

    def test_shows_no_exporter(self) -> None:
        """The representation of a channel keeps the session's keying material to itself."""
        self.assertNotIn("exporter", repr(CHANNEL))
