"""The invite: one string that admits a peer to a share.

A line as `codes` writes it, of the kind SHARE: it names one to eight trackers, carries the secret of the share and,
for each tracker in order, the pin of its key; its flag is set if names must be portable.
"""

from __future__ import annotations

from attrs import field, frozen

from twistedp2p.errors import BadInvite
from twistedp2p.identity.codes import (
    FLAG,
    PIN_BYTES,
    Kind,
    Place,
    canonical_host,
    check_port,
    clean,
    from_base32,
    place_in,
    read_code,
    to_base32,
    write_code,
)
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.limits import INVITE_CHARS, TRACKERS

__all__ = ["PIN_BYTES", "Invite", "TrackerAddress"]

_PIN_CHARS = -(-PIN_BYTES * 8 // 5)


@frozen
class TrackerAddress:
    """Where a tracker listens, and the pin of its key; raises `BadInvite` for what is no address."""

    host: str = field(converter=canonical_host)
    """A host name, or an IPv4 or IPv6 address (without brackets); kept in lower case."""
    port: int
    pin: bytes
    """The start of the hash of the tracker's public key, 16 bytes; not a secret."""

    def __attrs_post_init__(self) -> None:
        check_port(self.port)
        if len(self.pin) != PIN_BYTES:
            raise BadInvite(f"The pin of a tracker has {_PIN_CHARS} characters; copy the whole of it.")

    @classmethod
    def parse(cls, text: str) -> TrackerAddress:
        """Return the tracker written HOST:PORT:PIN."""
        address, _, code = clean(text[:INVITE_CHARS]).rpartition(":")
        place = place_in(address)
        pin = from_base32(code)
        if place is None or pin is None:
            # Not quoted: it may be an invite, pasted in the wrong place.
            raise BadInvite("This is not a tracker. Write it HOST:PORT:PIN, as the tracker prints it.")
        return cls(*place, pin)

    @property
    def address(self) -> str:
        """HOST:PORT, with an IPv6 address in brackets."""
        return Place(self.host, self.port).address

    def text(self) -> str:
        """Return HOST:PORT:PIN, which `parse` takes."""
        return f"{self.address}:{to_base32(self.pin)}"


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
        body = bytes([Kind.SHARE.value | FLAG * self.portable]) + self.secret
        body += b"".join(tracker.pin for tracker in self.trackers)
        return write_code([tracker.address for tracker in self.trackers], body)

    @classmethod
    def parse(cls, text: str) -> Invite:
        """Return the invite written as `text`; raises `BadInvite`, which says what is wrong with it."""
        places, body = read_code(text, Kind.SHARE)
        pins = [body[at : at + PIN_BYTES] for at in range(1 + SECRET_BYTES, len(body), PIN_BYTES)]
        trackers = tuple(TrackerAddress(*place, pin) for place, pin in zip(places, pins, strict=True))
        return cls(body[1 : 1 + SECRET_BYTES], trackers, bool(body[0] & FLAG))
