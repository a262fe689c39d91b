"""Codes that let in to named files: the invite of a file server, and the code of something that is sent once.

Lines as `codes` writes them. Of the kind FILES: the places of one server, a secret and the pin of its key; the flag
says that the secret lets one write. Of the kind SEND: the places of the sender, a secret and the pin of its key; with
the flag, the last place is a tracker where both meet, and its pin follows.

A server keeps one secret, which lets one write; the secret that lets one read is derived from it, so that who may
write may read, and who may read can not write.
"""

from __future__ import annotations

from attrs import field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twistedp2p.errors import BadInvite
from twistedp2p.identity.codes import FLAG, PIN_BYTES, Kind, Place, read_code, write_code
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.limits import TRACKERS

__all__ = ["FilesInvite", "SendCode", "read_secret"]

_SECRET_END = 1 + SECRET_BYTES
_PIN_END = _SECRET_END + PIN_BYTES


def read_secret(write_secret: bytes) -> bytes:
    """Return the secret that lets one read where `write_secret` (16 bytes) lets one write (HKDF, RFC 5869)."""
    return HKDF(SHA256(), SECRET_BYTES, b"twistedp2p/1", b"files read").derive(write_secret)


def _check(secret: bytes, places: int, pin: bytes) -> None:
    if len(secret) != SECRET_BYTES or len(pin) != PIN_BYTES:
        raise ValueError(f"the secret has {SECRET_BYTES} bytes and the pin {PIN_BYTES}")
    if not 1 <= places <= TRACKERS:
        raise ValueError(f"a code names 1 to {TRACKERS} places, not {places}")


@frozen
class FilesInvite:
    """The invite of a file server; neither `repr` nor any error shows its secret."""

    secret: bytes = field(repr=False)
    """16 bytes that let one read, or, if `writable`, write too."""
    places: tuple[Place, ...]
    """One to eight addresses of the same server."""
    pin: bytes
    """The start of the hash of the server's public key, 16 bytes; not a secret."""
    writable: bool = False

    def __attrs_post_init__(self) -> None:
        _check(self.secret, len(self.places), self.pin)

    def keys(self) -> ShareKeys:
        """Return the keys whose proof the server asks for."""
        return ShareKeys.derive(self.secret, portable=False)

    def text(self) -> str:
        """Return the invite as one line, which `parse` takes."""
        body = bytes([Kind.FILES.value | FLAG * self.writable]) + self.secret + self.pin
        return write_code([place.address for place in self.places], body)

    @classmethod
    def parse(cls, text: str) -> FilesInvite:
        """Return the invite written as `text`; raises `BadInvite`, which says what is wrong with it."""
        places, body = read_code(text, Kind.FILES)
        return cls(
            body[1:_SECRET_END], tuple(Place(*place) for place in places), body[_SECRET_END:], bool(body[0] & FLAG)
        )


@frozen
class SendCode:
    """The code of something that is sent once; neither `repr` nor any error shows its secret."""

    secret: bytes = field(repr=False)
    """16 bytes that let one receive it."""
    places: tuple[Place, ...]
    """Addresses of the sender, none only if there is a tracker; with it at most eight."""
    pin: bytes
    """The start of the hash of the sender's public key, 16 bytes; not a secret."""
    tracker: TrackerAddress | None = None
    """Where sender and receiver meet if the receiver can not dial the sender."""

    def __attrs_post_init__(self) -> None:
        _check(self.secret, len(self.places) + (self.tracker is not None), self.pin)

    def keys(self) -> ShareKeys:
        """Return the keys whose proof the sender asks for, and of the share in which both meet at the tracker."""
        return ShareKeys.derive(self.secret, portable=False)

    def text(self) -> str:
        """Return the code as one line, which `parse` takes."""
        body = bytes([Kind.SEND.value | FLAG * (self.tracker is not None)]) + self.secret + self.pin
        places = [place.address for place in self.places]
        if self.tracker is not None:
            places.append(self.tracker.address)
            body += self.tracker.pin
        return write_code(places, body)

    @classmethod
    def parse(cls, text: str) -> SendCode:
        """Return the code written as `text`; raises `BadInvite`, which says what is wrong with it."""
        written, body = read_code(text, Kind.SEND)
        tracker = TrackerAddress(*written.pop(), body[_PIN_END:]) if body[0] & FLAG else None
        if not written and tracker is None:
            raise BadInvite("This code names no address. Ask for a new one.")
        places = tuple(Place(*place) for place in written)
        return cls(body[1:_SECRET_END], places, body[_SECRET_END:_PIN_END], tracker)
