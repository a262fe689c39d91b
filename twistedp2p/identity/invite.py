"""The invite: one string that admits a peer to a share.

``tp2p1:HOST:PORT[,HOST:PORT...]:CODE``, with IPv6 addresses in brackets. CODE is base32 (lower case,
without padding) of

    1 byte      0x01, the format; 0x11 if names must be portable
    16 bytes    the secret of the share
    16 bytes    for each tracker, in order: the pin of its key
    4 bytes     checksum: the start of the BLAKE3 hash of the text before CODE and the bytes above

What people paste may have spaces, line breaks, quotes and capitals in it; none of them matter.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from ipaddress import IPv6Address

from attrs import field, frozen
from blake3 import blake3

from twistedp2p.errors import BadInvite
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.limits import INVITE_CHARS, TRACKERS

__all__ = ["PIN_BYTES", "Invite", "TrackerAddress"]

PIN_BYTES = 16
_PREFIX = "tp2p1:"
_FORMAT = 0x01
_PORTABLE = 0x10
_CHECKSUM_BYTES = 4
# What mail programs, chats and shells put around or into a long word.
_NOISE = re.compile("[\\s\"'`<>\u200b\u2060\ufeff\u00ad\u2018\u2019\u201c\u201d]+")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_.])?")
_ADDRESS = re.compile(r"(?:\[([^\[\],]*:[^\[\],]*)\]|([^:,\[\]]*)):([1-9][0-9]{0,4})")


def _canonical_host(host: str) -> str:
    """Return the host (an IPv6 address without brackets) as every invite writes it; raises `BadInvite`."""
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            raise BadInvite(f"{host[:80]!r} is not an IPv6 address.") from None
        if address.scope_id is not None:
            raise BadInvite(f"{host[:80]!r} means something on one machine only; use an address without a zone.")
        return str(address)
    if not _HOST.fullmatch(host.lower()):
        raise BadInvite(f"{host[:80]!r} is not a host name or IP address; a name has ASCII letters only (xn--...).")
    return host.lower()


@frozen
class TrackerAddress:
    """Where a tracker listens, and the pin of its key; raises `BadInvite` for what is no address."""

    host: str = field(converter=_canonical_host)
    """A host name, or an IPv4 or IPv6 address (without brackets); kept in lower case."""
    port: int
    pin: bytes
    """The start of the hash of the tracker's public key, 16 bytes; not a secret."""

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise BadInvite(f"{self.port} is not a port: a port is a number from 1 to 65535.")
        if len(self.pin) != PIN_BYTES:
            raise BadInvite(f"The pin of a tracker has {_chars(PIN_BYTES)} characters; copy the whole of it.")

    @classmethod
    def parse(cls, text: str) -> TrackerAddress:
        """Return the tracker written HOST:PORT:PIN."""
        address, _, code = _NOISE.sub("", text[:INVITE_CHARS]).lower().rpartition(":")
        place = _place(address)
        pin = _from_base32(code)
        if place is None or pin is None:
            # Not quoted: it may be an invite, pasted in the wrong place.
            raise BadInvite("This is not a tracker. Write it HOST:PORT:PIN, as the tracker prints it.")
        return cls(*place, pin)

    @property
    def address(self) -> str:
        """HOST:PORT, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def text(self) -> str:
        """Return HOST:PORT:PIN, which `parse` takes."""
        return f"{self.address}:{_to_base32(self.pin)}"


@frozen
class Invite:
    """What an invite says. It holds the share's secret: neither `repr` nor any error shows that."""

    secret: bytes = field(repr=False)
    """The secret of the share, 16 bytes."""
    trackers: tuple[TrackerAddress, ...]
    """One to eight trackers of the share."""
    portable: bool = False
    """Whether names must be usable on Windows too."""

    def __attrs_post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"a share's secret has {SECRET_BYTES} bytes, not {len(self.secret)}")
        if not 1 <= len(self.trackers) <= TRACKERS:
            raise ValueError(f"an invite names 1 to {TRACKERS} trackers, not {len(self.trackers)}")

    def keys(self) -> ShareKeys:
        """Return the keys of the share."""
        return ShareKeys.derive(self.secret, self.portable)

    def text(self) -> str:
        """Return the invite as one line, which `parse` takes."""
        head = f"{_PREFIX}{','.join(tracker.address for tracker in self.trackers)}:"
        body = bytes([_FORMAT | _PORTABLE * self.portable]) + self.secret
        body += b"".join(tracker.pin for tracker in self.trackers)
        return head + _to_base32(body + _checksum(head, body))

    @classmethod
    def parse(cls, text: str) -> Invite:
        """Return the invite written as `text`; raises `BadInvite`, which says what is wrong with it."""
        if len(text) > INVITE_CHARS:
            raise BadInvite("This is too long to be an invite. Copy the one line that begins with tp2p1: and no more.")
        text = _NOISE.sub("", text).lower()
        _check_prefix(text)
        addresses, _, code = text[len(_PREFIX) :].rpartition(":")
        written = addresses.split(",")
        places = [place for place in map(_place, written) if place]
        if len(places) < len(written):
            # Cut within the addresses, it ends in a host or port where the code should be.
            whole = len(code) >= _chars(SECRET_BYTES) and _from_base32(code) is not None
            raise _damaged() if whole else _cut_off()
        if len(places) > TRACKERS:
            raise BadInvite(f"This invite names more than {TRACKERS} trackers. Ask for a new one.")
        body = _checked_body(text, code, len(places))
        pins = [body[at : at + PIN_BYTES] for at in range(1 + SECRET_BYTES, len(body), PIN_BYTES)]
        trackers = tuple(TrackerAddress(*place, pin) for place, pin in zip(places, pins, strict=True))
        return cls(body[1 : 1 + SECRET_BYTES], trackers, bool(body[0] & _PORTABLE))


def _place(text: str) -> tuple[str, int] | None:
    """Return the host and port written HOST:PORT, or None if `text` is not of that form."""
    match = _ADDRESS.fullmatch(text)
    return (match[1] or match[2], int(match[3])) if match else None


def _check_prefix(text: str) -> None:
    version = re.match(r"tp2p([0-9]+):", text)
    if version is None:
        if _PREFIX.startswith(text[: len(_PREFIX)]) and text:
            raise _cut_off()
        raise BadInvite("This is not an invite. An invite is one line that begins with tp2p1: and names a tracker.")
    if version[0] != _PREFIX:
        raise _other_version()


def _checked_body(text: str, code: str, trackers: int) -> bytes:
    """Return the bytes of `code`, the end of the invite `text`, without their checksum."""
    size = 1 + SECRET_BYTES + trackers * PIN_BYTES + _CHECKSUM_BYTES
    decoded = _from_base32(code)
    if decoded is None or _checksum(text[: -len(code)], decoded[:-_CHECKSUM_BYTES]) != decoded[-_CHECKSUM_BYTES:]:
        if len(code) < _chars(size):
            raise _cut_off()
        if len(code) > _chars(size):
            raise BadInvite("This invite has something after its end. Copy the one line and no more.")
        raise _damaged()
    # Whole, so that what is unknown is not damage: a later version wrote it.
    if decoded[0] & ~_PORTABLE != _FORMAT or len(decoded) != size:
        raise _other_version()
    return decoded[:-_CHECKSUM_BYTES]


def _cut_off() -> BadInvite:
    return BadInvite("This invite is cut off at the end. Copy the whole line.")


def _damaged() -> BadInvite:
    return BadInvite("This invite is damaged: a character is wrong, missing or doubled. Copy it again.")


def _other_version() -> BadInvite:
    return BadInvite("This invite was made by another version of twistedp2p. Update this one, then use it again.")


def _checksum(head: str, body: bytes) -> bytes:
    return blake3(head.encode() + body).digest(_CHECKSUM_BYTES)


def _chars(size: int) -> int:
    """Return how many characters `size` bytes have in base32."""
    return -(-size * 8 // 5)


def _to_base32(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()


def _from_base32(text: str) -> bytes | None:
    """Return the bytes of `text`, or None if `_to_base32` never writes it."""
    try:
        data = b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return None
    return data if _to_base32(data) == text else None
