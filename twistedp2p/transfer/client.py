"""Asking a peer for content: the three requests, and what is made of the parts of their replies.

Small contents and manifests are verified by their hash here, as they arrive. A range is not: its hashes are those of
chunks, which only the owner of the manifest knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import frozen
from twisted.internet.defer import Deferred

from twistedp2p import limits
from twistedp2p.errors import CorruptContent, ProtocolViolation
from twistedp2p.framing.requests import Requests
from twistedp2p.messages.common import Data
from twistedp2p.messages.peer import GetContents, GetManifest, GetRange, Missing
from twistedp2p.transfer.chunking import manifest_id_of
from twistedp2p.transfer.hashing import content_id_of

__all__ = ["NotSent", "ask_contents", "ask_manifest", "ask_range"]


@frozen
class NotSent:
    """What did not come of the small contents that were asked for: not held there, or with other bytes."""

    missing: tuple[bytes, ...] = ()
    corrupt: tuple[bytes, ...] = ()


def ask_contents(
    requests: Requests, contents: Sequence[bytes], sink: Callable[[bytes, bytes], object], priority: int
) -> Deferred[NotSent]:
    """Ask for `limits.SMALL_CONTENTS_PER_REQUEST` small contents at most; `sink(id, bytes)` hears the right ones."""
    reply = _Contents(contents, sink)
    request = partial(GetContents, contents=tuple(contents), priority=_sendable(priority))
    return requests.ask(lambda number: request(number), reply.part).addCallback(reply.end)


def ask_manifest(requests: Requests, manifest: bytes, most: int, priority: int) -> Deferred[bytes]:
    """Ask for an encoded manifest of at most `most` bytes; fails with CorruptContent if another comes."""
    reply = _Manifest(manifest, most)
    request = partial(GetManifest, manifest=manifest, priority=_sendable(priority))
    return requests.ask(lambda number: request(number), reply.part).addCallback(reply.end)


def ask_range(
    requests: Requests,
    content: bytes,
    offset: int,
    length: int,
    sink: Callable[[int, bytes | memoryview], object],
    priority: int,
) -> Deferred[None]:
    """Ask for `length` bytes of a content at `offset`; `sink(offset, bytes)` hears them in order, unverified."""
    reply = _Range(offset, length, sink)
    request = partial(GetRange, content=content, offset=offset, length=length, priority=_sendable(priority))
    return requests.ask(lambda number: request(number), reply.part).addCallback(reply.end)


class _Contents:
    """The reply to GetContents: one part for each content, in the order asked for."""

    def __init__(self, contents: Sequence[bytes], sink: Callable[[bytes, bytes], object]) -> None:
        self._contents = contents
        self._sink = sink
        self._next = 0
        self._missing: list[bytes] = []
        self._corrupt: list[bytes] = []

    def part(self, part: object) -> None:
        if self._next == len(self._contents):
            raise ProtocolViolation("more contents than were asked for")
        content = self._contents[self._next]
        self._next += 1
        if isinstance(part, Missing):
            if part.content != content:
                raise ProtocolViolation("contents in another order than asked for")
            self._missing.append(content)
        elif isinstance(part, Data):
            if content_id_of(part.payload) == content:
                self._sink(content, bytes(part.payload))
            else:
                self._corrupt.append(content)

    def end(self, _: None) -> NotSent:
        """Return what did not come; whatever was left out at the end counts as not held."""
        return NotSent((*self._missing, *self._contents[self._next :]), tuple(self._corrupt))


class _Manifest:
    """The reply to GetManifest."""

    def __init__(self, manifest: bytes, most: int) -> None:
        self._manifest = manifest
        self._left = min(most, limits.MANIFEST_BYTES)
        self._pieces: list[bytes | memoryview] = []

    def part(self, part: object) -> None:
        if not isinstance(part, Data) or not part.payload:
            raise ProtocolViolation("a manifest without bytes")
        self._left -= len(part.payload)
        if self._left < 0:
            raise ProtocolViolation("a manifest that is longer than any of such a content")
        self._pieces.append(part.payload)

    def end(self, _: None) -> bytes:
        encoded = b"".join(self._pieces)
        if manifest_id_of(encoded) != self._manifest:
            raise CorruptContent("The list of chunks that was received is not the one asked for.")
        return encoded


class _Range:
    """The reply to GetRange."""

    def __init__(self, offset: int, length: int, sink: Callable[[int, bytes | memoryview], object]) -> None:
        self._offset = offset
        self._end = offset + length
        self._sink = sink

    def part(self, part: object) -> None:
        if not isinstance(part, Data) or not part.payload:
            raise ProtocolViolation("a range without bytes")
        offset = self._offset
        self._offset += len(part.payload)
        if self._offset > self._end:
            raise ProtocolViolation("more bytes than were asked for")
        self._sink(offset, part.payload)

    def end(self, _: None) -> None:
        if self._offset != self._end:
            raise CorruptContent("Fewer bytes came than were asked for.")


def _sendable(priority: int) -> int:
    """Return the priority as a request can carry it."""
    return max(0, min(priority, limits.SIZE_CAP))
