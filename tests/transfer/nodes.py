"""Peers that serve contents from memory and fetch them into memory, on a network in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, execute, fail, succeed

from tests.framing.memory import Hub
from twistedp2p.errors import CorruptContent, NotHeld
from twistedp2p.framing.network import PEER_ALPN
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.transfer.chunking import Chunker, Hashed, Manifest
from twistedp2p.transfer.fetch import Fetcher
from twistedp2p.transfer.hashing import content_id_of
from twistedp2p.transfer.links import Links
from twistedp2p.transfer.protocol import PeerProtocol

KEYS = ShareKeys.derive(b"s" * 16, False)
OTHER_KEYS = ShareKeys.derive(b"o" * 16, False)


def device(number: int) -> DeviceKey:
    """Return a device key that is the same in every run."""
    return DeviceKey.generate(lambda length: bytes([number]) * length)


def hashed(data: bytes) -> Hashed:
    """Return the names of `data`."""
    chunker = Chunker(len(data))
    chunker.feed(data)
    return chunker.finish()


class MemorySource:
    """Serves what is in two dictionaries; `asked` lists what was read, `held_back` what waits to be let go."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.manifests: dict[bytes, bytes] = {}
        self.asked: list[object] = []
        self.opened = 0
        self.hold_back = False
        self.held_back: list[tuple[Deferred[Any], Any]] = []

    def add(self, data: bytes) -> Hashed:
        """Hold a content."""
        names = hashed(data)
        self.contents[names.content_id] = data
        if names.manifest is not None:
            self.manifests[names.manifest.manifest_id] = names.manifest.encode()
        return names

    def spoil(self, content: bytes, at: int = 0) -> None:
        """Serve wrong bytes for a content."""
        data = bytearray(self.contents[content])
        data[at] ^= 1
        self.contents[content] = bytes(data)

    def let_go(self) -> None:
        """Answer the read that waits longest."""
        result, value = self.held_back.pop(0)
        result.callback(value)

    def read_contents(self, contents: Sequence[bytes]) -> Deferred[list[bytes | None]]:
        """Return small contents."""
        self.asked.append(tuple(contents))
        return self._answer([self.contents.get(content) for content in contents])

    def open(self, content: bytes) -> Deferred[Any]:
        """Open a content."""
        if content not in self.contents:
            return fail(NotHeld("It is not held here."))
        self.opened += 1
        return succeed(MemoryContent(self, content))

    def manifest(self, manifest: bytes) -> Deferred[bytes]:
        """Return a manifest."""
        self.asked.append(manifest)
        if manifest not in self.manifests:
            return fail(NotHeld("It is not held here."))
        return self._answer(self.manifests[manifest])

    def _answer(self, value: Any) -> Deferred[Any]:
        if not self.hold_back:
            return succeed(value)
        result: Deferred[Any] = Deferred()
        self.held_back.append((result, value))
        return result


class MemoryContent:
    """An open content of a `MemorySource`."""

    def __init__(self, source: MemorySource, content: bytes) -> None:
        self._source = source
        self._content = content
        self.size = len(source.contents[content])

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Read some bytes, unless the content is held no more."""
        self._source.asked.append((self._content, offset, length))
        data = self._source.contents.get(self._content)
        if data is None:
            return fail(NotHeld("It is gone."))
        return self._source._answer(data[offset : offset + length])

    def close(self) -> None:
        """Count it as closed."""
        self._source.opened -= 1


class MemoryPart:
    """A part in memory."""

    def __init__(self, content: bytes, manifest: Manifest) -> None:
        self.content = content
        self.manifest = manifest
        self.chunks: dict[int, bytes] = {}
        self.closed = False

    def missing(self) -> list[int]:
        """Return the chunks that are not here."""
        return [index for index in range(len(self.manifest.chunks)) if index not in self.chunks]

    def write(self, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Take chunks."""
        assert not self.closed
        for index, data in chunks:
            assert content_id_of(data) == self.manifest.chunks[index][0]
            self.chunks[index] = data

    def close(self) -> None:
        """Nothing may be written after this."""
        self.closed = True


class MemoryParts:
    """Parts in memory; `small_calls` lists how many small contents came in each call."""

    def __init__(self) -> None:
        self.whole: dict[bytes, bytes] = {}
        self.parts: dict[bytes, MemoryPart] = {}
        self.small_calls: list[int] = []
        self.error: Exception | None = None

    def put_small(self, contents: Iterable[tuple[bytes, bytes]]) -> None:
        """Store small contents."""
        self._fail_if_told()
        contents = list(contents)
        self.small_calls.append(len(contents))
        for content, data in contents:
            assert content_id_of(data) == content and content not in self.whole
            self.whole[content] = data

    def open(self, content: bytes, size: int, manifest: Manifest | None) -> MemoryPart:
        """Begin a part, or go on with it."""
        self._fail_if_told()
        assert manifest is not None and manifest.size == size
        part = self.parts.setdefault(content, MemoryPart(content, manifest))
        part.closed = False
        return part

    def finish(self, part: MemoryPart) -> None:
        """Verify a part as a whole."""
        self._fail_if_told()
        part.close()
        data = b"".join(part.chunks[index] for index in range(len(part.manifest.chunks)))
        if content_id_of(data) != part.content:
            raise CorruptContent("Another content.")
        self.whole[part.content] = data
        del self.parts[part.content]

    def _fail_if_told(self) -> None:
        if self.error is not None:
            raise self.error


class Node:
    """One peer: its source, its links, and a fetcher into memory."""

    def __init__(
        self, hub: Hub, number: int, *, keys: ShareKeys = KEYS, peers: dict[bytes, Node] | None = None, most: int = 256
    ) -> None:
        self.key = device(number)
        self.id = self.key.node_id
        self.host = f"10.0.0.{number}"
        self.network = hub.network(self.key, self.host)
        self.source = MemorySource()
        self.parts = MemoryParts()
        self.peers = peers if peers is not None else {}
        self.peers[self.id] = self
        self.addresses: dict[bytes, list[Address]] = {}
        self.versions: dict[bytes, tuple[int, ...]] = {}
        self.changes: list[bytes] = []
        self.tracker = False
        self.asked_to_dial: list[bytes] = []
        self.links = Links(
            network=self.network,
            node=self.id,
            keys=keys,
            name=f"peer {number}",
            versions=(1,),
            source=self.source,
            listed=self.listed,
            entropy=bytes,
            random=lambda: 1.0,
            ask_to_dial=self.ask_to_dial,
            changed=self._changed,
            most=most,
        )
        self.fetcher = Fetcher(links=self.links, parts=self.parts, run_in_thread=execute, clock=hub.clock)
        self.network.listen("tcp:17", self.links.factory, alpn=PEER_ALPN)

    def listed(self, node: bytes) -> PeerInfo | None:
        """Return where a node listens and what it speaks, unless the test says otherwise."""
        if node not in self.peers and node not in self.addresses:
            return None
        addresses = self.addresses.get(node)
        if addresses is None:
            addresses = [Address(self.peers[node].host, 17)]
        return PeerInfo(1, node, "", self.versions.get(node, (1,)), tuple(addresses))

    def ask_to_dial(self, node: bytes) -> bool:
        """Note whom this one asks to dial it; if it has a tracker, the other one hears it."""
        self.asked_to_dial.append(node)
        if self.tracker:
            self.peers[node].links.asked_to_dial(self.id)
        return self.tracker

    def _changed(self, node: bytes) -> None:
        self.changes.append(node)
        self.fetcher.link_changed(node)

    def want(
        self, names: Hashed, holders: Iterable[Node], others: Iterable[Node] = (), priority: int = 0
    ) -> Deferred[None]:
        """Fetch a content from these nodes."""
        manifest = names.manifest.manifest_id if names.manifest is not None else b""
        return self.fetcher.want(
            names.content_id,
            names.size,
            manifest,
            holders={node.id for node in holders},
            others={node.id for node in others},
            priority=priority,
        )

    def stop(self) -> None:
        """End everything."""
        self.fetcher.stop()
        self.links.stop()


def nodes(hub: Hub, count: int) -> list[Node]:
    """Return peers that know each other's addresses."""
    peers: dict[bytes, Node] = {}
    return [Node(hub, number, peers=peers) for number in range(1, count + 1)]


def protocol(
    hub: Hub,
    number: int,
    source: MemorySource,
    *,
    expected: bytes | None,
    keys: ShareKeys = KEYS,
    opened: Callable[[PeerProtocol], object] = lambda protocol: None,
    lost: Callable[..., object] = lambda protocol, reason: None,
) -> PeerProtocol:
    """Return a protocol of node `number` that nothing is connected to."""
    return PeerProtocol(
        network=hub.network(device(number)),
        keys=keys,
        name=f"peer {number}",
        versions=(1,),
        source=source,
        entropy=bytes,
        opened=opened,
        lost=lost,
        expected=expected,
    )
