"""Sealing of records: the tracker keeps and compares them, and can neither read nor change them.

A sealed record is the number of its format (one byte, in clear), then AES-SIV (RFC 5297) of the padded
record with that byte and the share's name as associated data. AES-SIV is deterministic: equal records
give equal blobs, so that members who agree have nothing to say. The padding (a byte 0x80, then zeros, to
a multiple of 64 bytes; ISO/IEC 7816-4) hides how long a name is.
"""

from __future__ import annotations

from blake3 import blake3
from cryptography.exceptions import InvalidTag

from twistedp2p.errors import ProtocolViolation
from twistedp2p.identity.share import ShareKeys
from twistedp2p.limits import RECORD_BYTES, SEAL_STEP_BYTES

__all__ = ["ITEM_KEY_BYTES", "format_of", "item_key", "seal", "unseal"]

ITEM_KEY_BYTES = 16
_OVERHEAD = 1 + 16  # the format byte, and the tag of AES-SIV
_FORMATS = [bytes([number]) for number in range(256)]


def seal(keys: ShareKeys, record: bytes, format: int) -> bytes:
    """Return `record`, encoded in `format` (0 to 255), sealed for the members of the share.

    Raises ValueError if the blob would be longer than RECORD_BYTES: nobody would take it.
    """
    padded = record + b"\x80" + bytes(-(len(record) + 1) % SEAL_STEP_BYTES)
    if len(padded) + _OVERHEAD > RECORD_BYTES:
        raise ValueError(f"a record of {len(record)} bytes is too long to be sealed")
    head = _FORMATS[format]
    return head + keys.sealing.encrypt(padded, [head, keys.share_id])


def format_of(blob: bytes) -> int:
    """Return the number of the format of a sealed record; raises `ProtocolViolation` if it is empty.

    A record of a format that is not known here is kept and passed on as it is.
    """
    if not blob:
        raise ProtocolViolation("A sealed record is empty.")
    return blob[0]


def unseal(keys: ShareKeys, blob: bytes) -> bytes:
    """Return the record in `blob`; raises `ProtocolViolation` unless a member of this share sealed exactly it."""
    if len(blob) > RECORD_BYTES or len(blob) % SEAL_STEP_BYTES != _OVERHEAD:
        raise ProtocolViolation(f"A sealed record of {len(blob)} bytes has no possible length.")
    try:
        padded = keys.sealing.decrypt(blob[1:], [blob[:1], keys.share_id])
    except InvalidTag:
        raise ProtocolViolation("A sealed record is damaged, or was sealed for another share.") from None
    record = padded.rstrip(b"\0")
    # One record has one blob: a member who pads differently must not make a second item of it.
    if record[-1:] != b"\x80" or len(padded) - len(record) >= SEAL_STEP_BYTES:
        raise ProtocolViolation("A sealed record is not padded as it should be.")
    return record[:-1]


def item_key(blob: bytes) -> bytes:
    """Return the key under which the tracker knows a sealed record: 16 bytes."""
    return blake3(blob).digest(ITEM_KEY_BYTES)
