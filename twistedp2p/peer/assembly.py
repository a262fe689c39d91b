"""One peer, put together from its rooms; the way to the world (network, clock, threads, chance) is an argument.

`service` gives it the real world, `twistedp2p.testing` a simulated one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime

from twistedp2p.framing.network import PEER_ALPN, Network
from twistedp2p.identity.proof import NONCE_BYTES
from twistedp2p.identity.seal import item_key, unseal
from twistedp2p.limits import NAME_CHARS
from twistedp2p.messages.tracker import Address
from twistedp2p.peer.announce import Announcer
from twistedp2p.peer.bench import Bench
from twistedp2p.peer.failures import Complaints
from twistedp2p.peer.folder.quiet import Quiet
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.index import Index
from twistedp2p.peer.member import RID_BYTES, Member
from twistedp2p.peer.observe import Observer
from twistedp2p.peer.replica import Replica
from twistedp2p.peer.reuse import ReusingParts
from twistedp2p.peer.serving import Serving
from twistedp2p.peer.steps import Steps
from twistedp2p.peer.sync import Sync
from twistedp2p.peer.tracking import VERSIONS, Tracking
from twistedp2p.peer.whereabouts import Whereabouts
from twistedp2p.peer.workers import Workers
from twistedp2p.tracker.client import TrackerClient
from twistedp2p.transfer.fetch import Fetcher
from twistedp2p.transfer.links import Links

__all__ = ["Peer"]


class Peer:
    """One running member of a share.

    Args:
        member: the folder, opened.
        index: its index, opened.
        network: dials and listens with the member's device key.
        clock: monotonic time.
        workers: where blocking work runs.
        entropy: random bytes.
        random: a random number from 0 to 1.
        wall: seconds since 1970, for names of days and to tell what is younger.
        name: by which this peer is shown to people.
    """

    def __init__(
        self,
        member: Member,
        index: Index,
        *,
        network: Network,
        clock: IReactorTime,
        workers: Workers,
        entropy: Callable[[int], bytes],
        random: Callable[[], float],
        wall: Callable[[], float],
        name: str,
    ) -> None:
        self.member = member
        self.index = index
        self.name = name[:NAME_CHARS]
        self.workers = workers
        self.addresses: Callable[[], Sequence[Address]] = tuple
        self._network = network
        self._clock = clock
        self._entropy = entropy
        self._random = random
        self._ports: list[IListeningPort] = []
        self.quiet = Quiet()
        self.bench = Bench(
            member, index, seconds=clock.seconds, wall=wall, entropy=entropy, waiting=self.quiet.is_waiting
        )
        self.replica = Replica(index)
        self.steps = self._make_steps()
        self.holdings = Holdings()
        complaints = Complaints(clock.seconds)
        self.sync = Sync(
            clock=clock,
            workers=workers,
            steps=self.steps,
            holdings=self.holdings,
            new_rid=lambda: entropy(RID_BYTES),
            complaints=complaints,
        )
        self.observer = Observer(
            clock=clock,
            workers=workers,
            eye=self.bench.eye,
            quiet=self.quiet,
            found=self.sync.looked,
            settled=self.sync.settle,
            scanned=self.sync.scanned,
            damaged=self.sync.index_damaged,
            complaints=complaints,
        )
        self.links = self._make_links()
        self.fetcher = self._make_fetcher()
        self.tracking = Tracking(self, entropy(NONCE_BYTES), clock, wall)
        self.client = TrackerClient(
            network=network,
            trackers=member.invite.trackers,
            keys=member.keys,
            updates=self.tracking,
            entropy=entropy,
            random=random,
        )
        self.whereabouts = Whereabouts(
            clock, wall=wall, addresses=lambda: self.addresses(), moved=self._moved, returned=self._returned
        )
        self.sync.observer = self.observer
        self.sync.wants.fetcher = self.fetcher
        self.sync.tracker = self.client
        self.bench.tidy()

    def _make_steps(self) -> Steps:
        index, bench, keys = self.index, self.bench, self.member.keys
        return Steps(
            disk=bench.disk,
            index=index,
            replica=self.replica,
            announcer=Announcer(index.item, index.number_of, index.paths),
            eye=bench.eye,
            ignoring=bench.ignoring,
            contents=bench.contents,
            executor=bench.executor,
            recovery=bench.recovery,
            purger=bench.purger,
            rules=bench.rules,
            unseal=lambda blob: unseal(keys, blob),
            key_of=item_key,
        )

    def _make_links(self) -> Links:
        bench = self.bench
        serving = Serving(
            disk=bench.disk,
            names=bench.names,
            index=self.index,
            parts=bench.parts,
            trash=bench.trash,
            workers=self.workers,
        )
        return Links(
            network=self._network,
            node=self.member.key.node_id,
            keys=self.member.keys,
            name=self.name,
            versions=VERSIONS,
            source=serving,
            listed=self.holdings.listed,
            entropy=self._entropy,
            random=self._random,
            ask_to_dial=lambda node: self.tracking.ask_to_dial(node),
            changed=lambda node: self.fetcher.link_changed(node),
        )

    def _make_fetcher(self) -> Fetcher:
        bench = self.bench
        parts = ReusingParts(
            parts=bench.parts,
            index=self.index,
            disk=bench.disk,
            names=bench.names,
            eye=bench.eye,
            paths_wanting=self.sync.wants.paths_of,
        )
        return Fetcher(links=self.links, parts=parts, run_in_thread=self.workers.bulk, clock=self._clock)

    def speakers(self) -> tuple[object, ...]:
        """Return what logs in the name of this peer: a process with several peers tells their lines apart by it."""
        return self.sync, self.observer, self.tracking, self.client, self.links, self.fetcher, self.bench.executor

    # -- life ---------------------------------------------------------------

    async def listen(self, endpoints: Sequence[str]) -> list[IListeningPort]:
        """Listen for other peers on these endpoints; raises `CannotListenError`."""
        for endpoint in endpoints:
            port = await self._network.listen(endpoint, self.links.factory, alpn=PEER_ALPN)
            self._ports.append(port)
        return self._ports

    def start(self, addresses: Callable[[], Sequence[Address]]) -> None:
        """Begin: look at the folder, and call the tracker; `addresses` says where others reach this peer at the moment.

        It is asked again for every session with a tracker, also in the state thread, and every few seconds.
        """
        self.addresses = addresses
        self.whereabouts.start()
        self.observer.start()
        self.client.start()

    def _moved(self) -> None:
        """Tell the tracker, and by it all others, where this peer is now."""
        self.client.reconnect()
        self.links.check_all()

    def _returned(self) -> None:
        """Find out what of the connections is left."""
        self.client.check()
        self.links.check_all()

    async def stop_listening(self) -> None:
        """Take no more calls."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)

    async def stop(self) -> None:
        """Say goodbye, and end everything that this peer began; the index is closed by its owner."""
        self.whereabouts.stop()
        self.observer.stop()
        self.sync.stop()
        self.fetcher.stop()
        await self.client.stop()
        self.links.stop()
        await self.stop_listening()
        # What still runs in the state thread ends before this does.
        await self.workers.state(lambda: None)
