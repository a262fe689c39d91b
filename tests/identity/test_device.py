"""The key of a device, its certificate, and the names that follow from it."""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone

from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import BadProof, KeyUnusable
from twistedp2p.identity.device import DeviceKey, node_id_of, node_text, pin_of, spki_of
from twistedp2p.identity.proof import EXPORTER_BYTES, EXPORTER_LABEL, Channel, Role, check_proof, make_proof
from twistedp2p.identity.share import ShareKeys


def counting(size: int) -> bytes:
    """Return entropy that is always the same."""
    return bytes(range(size))


class DeviceKeyTests(SynchronousTestCase):
    """Making, storing and naming a key."""

    def test_vectors(self) -> None:
        """One key has one SPKI, node id, pin and certificate for ever: all that others know a device by."""
        key = DeviceKey.generate(counting)
        self.assertEqual(
            key.spki.hex(),
            "302a300506032b657003210003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        )
        self.assertEqual(node_text(key.node_id), "blz5sftbgkjsz4rak3kbb54x3vysdxqr")
        self.assertEqual(key.pin.hex(), "0af3d9166132932cf22056d410f797dd")
        self.assertEqual(
            blake3(key.certificate.public_bytes(Encoding.DER)).hexdigest(16), "cf457c9860705cceb8878b50287b268d"
        )

    def test_names(self) -> None:
        """Node id and pin are starts of the BLAKE3 hash of the SPKI."""
        self.assertEqual(node_id_of(b"spki"), blake3(b"spki").digest()[:20])
        self.assertEqual(pin_of(b"spki"), blake3(b"spki").digest()[:16])
        self.assertEqual(node_text(bytes(20)), "a" * 32)

    def test_entropy_decides(self) -> None:
        """Two keys of other entropy differ, and by default each key is new."""
        keys = [DeviceKey.generate(counting), DeviceKey.generate(), DeviceKey.generate()]
        self.assertEqual(len({key.spki for key in keys}), 3)

    def test_stored(self) -> None:
        """A key that was stored is the same device with the same certificate."""
        key = DeviceKey.generate()
        again = DeviceKey.load(key.private_pem())
        self.assertEqual(again.node_id, key.node_id)
        self.assertEqual(again.certificate_pem(), key.certificate_pem())
        self.assertEqual(DeviceKey.load(key.private_pem() + key.certificate_pem()).spki, key.spki)

    def test_damaged(self) -> None:
        """What is not a stored Ed25519 key is refused with a sentence."""
        pem = DeviceKey.generate(counting).private_pem()
        other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        locked = DeviceKey.generate(counting).private_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        )
        for bad in (b"", b"x", pem[:60], pem.replace(b"MC4", b"MC5"), b"\xff" * 200, other, locked):
            with self.assertRaises(KeyUnusable):
                DeviceKey.load(bad)

    def test_shows_no_secret(self) -> None:
        """The representation names the device and nothing else."""
        key = DeviceKey.generate(counting)
        self.assertEqual(repr(key), "<DeviceKey of blz5sftbgkjsz4rak3kbb54x3vysdxqr>")

    def test_certificate(self) -> None:
        """The certificate is signed by its own key, names the node, and does not expire."""
        certificate = DeviceKey.generate(counting).certificate
        certificate.verify_directly_issued_by(certificate)
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=blz5sftbgkjsz4rak3kbb54x3vysdxqr")
        self.assertLess(certificate.not_valid_before_utc, datetime(2001, 1, 1, tzinfo=timezone.utc))
        self.assertEqual(certificate.not_valid_after_utc.year, 9999)

    def test_unknown_kind_of_key(self) -> None:
        """A certificate with a key that can not be read is a bad proof, not an unexpected error."""
        der = DeviceKey.generate(counting).certificate.public_bytes(Encoding.DER)
        for kind in (b"\x2b\x65\x7f", b"\x2b\x65\x71"):
            strange = x509.load_der_x509_certificate(der.replace(b"\x2b\x65\x70", kind))
            with self.assertRaises(BadProof):
                spki_of(strange)


def connection(key: DeviceKey, dials: bool) -> SSL.Connection:
    """Return one end of a TLS connection in memory, of the device `key`."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_privatekey(key.private_key)
    context.use_certificate(key.certificate)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    end = SSL.Connection(context, None)
    if dials:
        end.set_connect_state()
    else:
        end.set_accept_state()
    return end


def shake_hands(dialler: SSL.Connection, acceptor: SSL.Connection) -> None:
    """Carry bytes between two ends until both have nothing to say."""
    for _ in range(4):
        for source, sink in ((dialler, acceptor), (acceptor, dialler)):
            with contextlib.suppress(SSL.WantReadError):
                source.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                sink.bio_write(source.bio_read(65536))


def channel_of(end: SSL.Connection, own: DeviceKey, dials: bool) -> Channel:
    """Return what one end knows of its connection."""
    certificate = end.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    spkis = (own.spki, spki_of(certificate)) if dials else (spki_of(certificate), own.spki)
    return Channel(end.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, None), *spkis)


class HandshakeTests(SynchronousTestCase):
    """The keys in TLS 1.3, as OpenSSL does it, with a proof on top."""

    def test_both_ends_agree(self) -> None:
        """Both ends see the other's key and one exporter, so that each takes the other's proof."""
        keys = ShareKeys.derive(bytes(16), False)
        one, two = DeviceKey.generate(), DeviceKey.generate()
        dialler, acceptor = connection(one, True), connection(two, False)
        shake_hands(dialler, acceptor)
        self.assertEqual(acceptor.get_protocol_version_name(), "TLSv1.3")
        at_dialler, at_acceptor = channel_of(dialler, one, True), channel_of(acceptor, two, False)
        check_proof(make_proof(keys, Role.DIAL_PEER, at_dialler, bytes(16)), Role.DIAL_PEER, at_acceptor, None)
        check_proof(make_proof(keys, Role.ACCEPT_PEER, at_acceptor, bytes(16)), Role.ACCEPT_PEER, at_dialler, None)

    def test_relayed(self) -> None:
        """A proof that somebody in the middle passes on from one connection to another is worth nothing."""
        keys = ShareKeys.derive(bytes(16), False)
        one, middle, two = DeviceKey.generate(), DeviceKey.generate(), DeviceKey.generate()
        first = connection(one, True), connection(middle, False)
        second = connection(middle, True), connection(two, False)
        shake_hands(*first)
        shake_hands(*second)
        proof = make_proof(keys, Role.DIAL_PEER, channel_of(first[0], one, True), bytes(16))
        with self.assertRaises(BadProof):
            check_proof(proof, Role.DIAL_PEER, channel_of(second[1], two, False), keys.share_id)
