"""Fetching over real sockets and real TLS on the loopback interface."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.transfer.nodes import KEYS, OTHER_KEYS, MemoryParts, MemorySource, device
from tests.transfer.test_chunking import MIB, stream
from twistedp2p.errors import Unreachable
from twistedp2p.framing.network import PEER_ALPN
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.transfer.fetch import Fetcher
from twistedp2p.transfer.links import Links


class LoopbackTests(TestCase):
    """Two peers on 127.0.0.1."""

    timeout = 60

    async def peer(self, number: int, keys: ShareKeys = KEYS) -> tuple[Links, MemorySource]:
        """Start a peer that listens."""
        key, source = device(number), MemorySource()
        network = TLSNetwork(reactor, key)
        links = Links(
            network=network,
            node=key.node_id,
            keys=keys,
            name=f"peer {number}",
            versions=(1,),
            source=source,
            listed=lambda node: PeerInfo(1, node, "", (1,), tuple(self.addresses[node])),
            entropy=os.urandom,
            random=lambda: 1.0,
            changed=self.changed,
        )
        port = await network.listen("tcp:0:interface=127.0.0.1", links.factory, alpn=PEER_ALPN)
        self.addresses[key.node_id] = [Address("127.0.0.1", port.getHost().port)]  # type: ignore[attr-defined]
        self.ports.append(port)
        self.peers.append(links)
        return links, source

    def setUp(self) -> None:
        self.addresses: dict[bytes, list[Address]] = {}
        self.ports: list[Any] = []
        self.peers: list[Links] = []
        self.gone: Deferred[None] = Deferred()

    def changed(self, node: bytes) -> None:
        """Notice when all connections have gone."""
        if self.peers and not any(links.live() for links in self.peers) and not self.gone.called:
            self.gone.callback(None)

    async def tearDown(self) -> None:  # type: ignore[override]  # trial awaits it
        if any(links.live() for links in self.peers):
            for links in self.peers:
                links.stop()
            await self.gone
        for port in self.ports:
            await port.stopListening()

    async def test_fetch(self) -> None:
        """Large and small contents arrive, written in threads, over one connection."""
        mine, _ = await self.peer(1)
        _, source = await self.peer(2)
        parts = MemoryParts()
        fetcher = Fetcher(links=mine, parts=parts, run_in_thread=deferToThread, clock=reactor)
        contents = [stream(5 * MIB), *(str(number).encode() for number in range(300))]
        results = []
        for data in contents:
            names = source.add(data)
            manifest = names.manifest.manifest_id if names.manifest is not None else b""
            results.append(fetcher.want(names.content_id, names.size, manifest, holders=[device(2).node_id]))
        for success, result in await DeferredList(results):
            self.assertTrue(success, result)
        self.assertEqual(sorted(parts.whole.values()), sorted(contents))
        self.assertEqual(len(mine.live()), 1)
        fetcher.stop()

    async def test_a_stranger(self) -> None:
        """A node of another share gets no connection, and neither side keeps anything."""
        mine, _ = await self.peer(1)
        theirs, _ = await self.peer(2, OTHER_KEYS)
        await self.assertFailure(mine.connection(device(2).node_id), Unreachable)
        self.assertEqual((mine.live(), theirs.live()), ([], []))
