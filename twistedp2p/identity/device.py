"""The key of a device: what other nodes recognise this one by.

Every peer and every tracker makes an Ed25519 key at its first start and shows it in a self-signed TLS
certificate. Nobody checks that certificate's signature, name or dates; what counts is the hash of its
public key (SPKI, RFC 5280 section 4.1): the node id of a peer, or the pin of a tracker in an invite.
"""

from __future__ import annotations

import os
from base64 import b32encode
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cached_property

from blake3 import blake3
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from twistedp2p.errors import BadProof, KeyUnusable
from twistedp2p.messages.common import NodeId

__all__ = ["DeviceKey", "node_id_of", "node_text", "pin_of", "spki_of"]

_NOT_BEFORE = datetime(2000, 1, 1, tzinfo=timezone.utc)
# "No well-defined expiration date" in RFC 5280, section 4.1.2.5.
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)


def spki_of(certificate: x509.Certificate) -> bytes:
    """Return the public key (DER) in the certificate that the other side showed.

    Raises `BadProof` for a kind of key that nobody can have proved anything with.
    """
    try:
        key = certificate.public_key()
        return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (UnsupportedAlgorithm, ValueError):
        raise BadProof("The certificate of the other side has a key of an unknown kind.") from None


def node_id_of(spki: bytes) -> NodeId:
    """Return the node id, 20 bytes, of the device whose public key is `spki` (DER)."""
    return blake3(spki).digest(20)


def pin_of(spki: bytes) -> bytes:
    """Return the 16 bytes by which an invite names the tracker whose public key is `spki` (DER)."""
    return blake3(spki).digest(16)


def node_text(node_id: bytes) -> str:
    """Return a node id as people see it: 32 characters of lower-case base32."""
    return b32encode(node_id).decode().rstrip("=").lower()


class DeviceKey:
    """An Ed25519 private key, with the certificate and the names that follow from it.

    Made by `generate` or `load`. The certificate is a function of the key (Ed25519 signatures are
    deterministic and the dates fixed), so that only the key needs to be stored.
    """

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self.private_key = private_key

    def __repr__(self) -> str:
        return f"<DeviceKey of {node_text(self.node_id)}>"

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes] = os.urandom) -> DeviceKey:
        """Return a new key made of 32 bytes of `entropy`."""
        return cls(Ed25519PrivateKey.from_private_bytes(entropy(32)))

    @classmethod
    def load(cls, pem: bytes) -> DeviceKey:
        """Return the key that `private_pem` wrote; raises `KeyUnusable` for anything else."""
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            raise KeyUnusable("The device key is damaged; remove its file, and a new key is made.") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyUnusable("The device key is not an Ed25519 key; remove its file, and a new key is made.")
        return cls(private)

    def private_pem(self) -> bytes:
        """Return the key for a file of mode 0600: PKCS #8, not encrypted."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @cached_property
    def spki(self) -> bytes:
        """The public key, DER."""
        return self.private_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @cached_property
    def node_id(self) -> NodeId:
        """The node id of this device."""
        return node_id_of(self.spki)

    @cached_property
    def pin(self) -> bytes:
        """The pin of this device, if it is a tracker."""
        return pin_of(self.spki)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The self-signed certificate for TLS; its common name is the node id."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, node_text(self.node_id))])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private_key.public_key())
            .serial_number(1)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
            .sign(self.private_key, algorithm=None)
        )

    def certificate_pem(self) -> bytes:
        """Return the certificate, PEM; after `private_pem` it is what Twisted's PrivateCertificate loads."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)
