"""The one line by which somebody is let in: its text, whatever it lets in to.

``tp2p1:HOST:PORT[,HOST:PORT...]:CODE``, with IPv6 addresses in brackets. CODE is base32 (lower case,
without padding) of

    1 byte      the kind of the code (`Kind`) in the lower half, flags of that kind in the upper half
    16 bytes    a secret
    16 bytes    for each pin that the kind has: the start of the hash of a public key
    4 bytes     checksum: the start of the BLAKE3 hash of the text before CODE and the bytes above

What people paste may have spaces, line breaks, quotes and capitals in it; none of them matter.
`invite` and `files_code` say what each kind means.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv6Address

from attrs import field, frozen
from blake3 import blake3

from twistedp2p.errors import BadInvite
from twistedp2p.identity.share import SECRET_BYTES
from twistedp2p.limits import INVITE_CHARS, TRACKERS

__all__ = [
    "FLAG",
    "PIN_BYTES",
    "Kind",
    "Place",
    "canonical_host",
    "check_port",
    "clean",
    "from_base32",
    "place_in",
    "read_code",
    "to_base32",
    "write_code",
]

PIN_BYTES = 16
FLAG = 0x10
"""The one flag that each kind has so far; what it means differs."""
_PREFIX = "tp2p1:"
_CHECKSUM_BYTES = 4
# What mail programs, chats and shells put around or into a long word.
_NOISE = re.compile("[\\s\"'`<>\u200b\u2060\ufeff\u00ad\u2018\u2019\u201c\u201d]+")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_.])?")
_ADDRESS = re.compile(r"(?:\[([^\[\],]*:[^\[\],]*)\]|([^:,\[\]]*)):([1-9][0-9]{0,4})")


class Kind(Enum):
    """What a code lets in to; the value is the lower half of its first byte."""

    SHARE = 0x01
    FILES = 0x02
    SEND = 0x03

    @property
    def noun(self) -> str:
        """What people call such a line."""
        return "code" if self is Kind.SEND else "invite"

    @property
    def article(self) -> str:
        """The noun with its article."""
        return f"{'a' if self is Kind.SEND else 'an'} {self.noun}"

    @property
    def whose(self) -> str:
        """What the addresses in it are of."""
        return {Kind.SHARE: "tracker", Kind.FILES: "server", Kind.SEND: "sender"}[self]

    @property
    def used_by(self) -> str:
        """What to do with it when it is given in the wrong place."""
        return {
            Kind.SHARE: "This is the invite to a share: give it to `twistedp2p join`.",
            Kind.FILES: "This is the invite of a file server: give it to `twistedp2p files` or `twistedp2p get`.",
            Kind.SEND: "This is the code of something that was sent: give it to `twistedp2p receive`.",
        }[self]

    def size(self, flagged: bool, places: int) -> int:
        """Return how many bytes the CODE of this kind has, checksum and all."""
        pins = {Kind.SHARE: places, Kind.FILES: 1, Kind.SEND: 2 if flagged else 1}[self]
        return 1 + SECRET_BYTES + pins * PIN_BYTES + _CHECKSUM_BYTES


def canonical_host(host: str) -> str:
    """Return the host (an IPv6 address without brackets) as every code writes it; raises `BadInvite`."""
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


def check_port(port: int) -> None:
    """Return if that is a port; raises `BadInvite` if not."""
    if not 1 <= port <= 65535:
        raise BadInvite(f"{port} is not a port: a port is a number from 1 to 65535.")


@frozen
class Place:
    """An address to dial: a host name, IPv4 or IPv6 address (without brackets), and a port; raises `BadInvite`."""

    host: str = field(converter=canonical_host)
    port: int

    def __attrs_post_init__(self) -> None:
        check_port(self.port)

    @property
    def address(self) -> str:
        """HOST:PORT, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place written HOST:PORT; raises `BadInvite`."""
        place = place_in(clean(text[:INVITE_CHARS]))
        if place is None:
            raise BadInvite(f"{text[:80]!r} is not an address. Write it HOST:PORT.")
        return cls(*place)


def write_code(places: Sequence[str], body: bytes) -> str:
    """Return the line that names `places` (each HOST:PORT) and carries `body`, which `read_code` takes."""
    head = f"{_PREFIX}{','.join(places)}:"
    return head + to_base32(body + _checksum(head, body))


def read_code(text: str, kind: Kind) -> tuple[list[tuple[str, int]], bytes]:
    """Return the places (host, port) and the body, without checksum, of a line of that kind.

    Raises `BadInvite`, whose sentence says what is wrong with it and repeats nothing of the code.
    """
    if len(text) > INVITE_CHARS:
        raise BadInvite(
            f"This is too long to be {kind.article}. Copy the one line that begins with tp2p1: and no more."
        )
    text = clean(text)
    _check_prefix(text, kind)
    addresses, _, code = text[len(_PREFIX) :].rpartition(":")
    written = addresses.split(",")
    places = [place for place in map(place_in, written) if place]
    if len(places) < len(written):
        # Cut within the addresses, it ends in a host or port where the code should be.
        whole = len(code) >= _chars(SECRET_BYTES) and from_base32(code) is not None
        raise _damaged(kind) if whole else _cut_off(kind)
    if len(places) > TRACKERS:
        raise BadInvite(f"This {kind.noun} names more than {TRACKERS} {kind.whose}s. Ask for a new one.")
    return places, _checked_body(text, code, kind, len(places))


def clean(text: str) -> str:
    """Return `text` without what does not matter in a code, in lower case."""
    return _NOISE.sub("", text).lower()


def place_in(text: str) -> tuple[str, int] | None:
    """Return the host and port written HOST:PORT, or None if `text` is not of that form."""
    match = _ADDRESS.fullmatch(text)
    return (match[1] or match[2], int(match[3])) if match else None


def to_base32(data: bytes) -> str:
    """Return bytes as codes write them."""
    return b32encode(data).decode().rstrip("=").lower()


def from_base32(text: str) -> bytes | None:
    """Return the bytes of `text`, or None if `to_base32` never writes it."""
    try:
        data = b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return None
    return data if to_base32(data) == text else None


def _check_prefix(text: str, kind: Kind) -> None:
    version = re.match(r"tp2p([0-9]+):", text)
    if version is None:
        if _PREFIX.startswith(text[: len(_PREFIX)]) and text:
            raise _cut_off(kind)
        raise BadInvite(
            f"This is not {kind.article}. {kind.article.capitalize()} is one line that begins with tp2p1: "
            f"and names a {kind.whose}."
        )
    if version[0] != _PREFIX:
        raise _other_version(kind)


def _checked_body(text: str, code: str, kind: Kind, places: int) -> bytes:
    """Return the bytes of `code`, the end of `text`, without their checksum."""
    decoded = from_base32(code)
    if decoded is None or _checksum(text[: -len(code)], decoded[:-_CHECKSUM_BYTES]) != decoded[-_CHECKSUM_BYTES:]:
        size = _size_meant(code, kind, places)
        if len(code) < _chars(size):
            raise _cut_off(kind)
        if len(code) > _chars(size):
            raise BadInvite(f"This {kind.noun} has something after its end. Copy the one line and no more.")
        raise _damaged(kind)
    # Whole, so that what is unknown is not damage: a later version wrote it.
    found = _kind_of(decoded[0])
    if found is None or len(decoded) != found.size(bool(decoded[0] & FLAG), places):
        raise _other_version(kind)
    if found is not kind:
        raise BadInvite(found.used_by)
    return decoded[:-_CHECKSUM_BYTES]


def _size_meant(code: str, kind: Kind, places: int) -> int:
    """Return how long the bytes of a code that is cut or damaged should be, going by its first byte."""
    first = from_base32(code[:2] and code[0] + _first_of_quad(code[1:2]))
    found = _kind_of(first[0]) if first else None
    return (found or kind).size(bool(first and first[0] & FLAG), places)


def _first_of_quad(digit: str) -> str:
    """Return the base32 digit with the two bits that do not belong to the first byte set to zero."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    at = alphabet.find(digit or "?")
    return alphabet[at & ~3] if at >= 0 else "?"


def _kind_of(first: int) -> Kind | None:
    try:
        return Kind(first & ~FLAG)
    except ValueError:
        return None


def _cut_off(kind: Kind) -> BadInvite:
    return BadInvite(f"This {kind.noun} is cut off at the end. Copy the whole line.")


def _damaged(kind: Kind) -> BadInvite:
    return BadInvite(f"This {kind.noun} is damaged: a character is wrong, missing or doubled. Copy it again.")


def _other_version(kind: Kind) -> BadInvite:
    return BadInvite(f"This {kind.noun} was made by another version of twistedp2p. Update this one, then use it again.")


def _checksum(head: str, body: bytes) -> bytes:
    return blake3(head.encode() + body).digest(_CHECKSUM_BYTES)


def _chars(size: int) -> int:
    """Return how many characters `size` bytes have in base32."""
    return -(-size * 8 // 5)
