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
from twistedp2p.messages import Address
from twistedp2p.paths import NameRules
from twistedp2p.peer.announce import Announcer
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.executor import Executor
from twistedp2p.peer.folder.mark import PARTS
from twistedp2p.peer.folder.names import DiskNames
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.publish import Publisher
from twistedp2p.peer.folder.quiet import Quiet
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.peer.member import RID_BYTES, Member
from twistedp2p.peer.observe import Observer
from twistedp2p.peer.recovery import Recovery
from twistedp2p.peer.replica import Replica
from twistedp2p.peer.reuse import ReusingParts
from twistedp2p.peer.serving import Serving
from twistedp2p.peer.steps import Steps
from twistedp2p.peer.sync import Sync
from twistedp2p.peer.tracking import VERSIONS, Tracking
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
        wall: seconds since 1970, for names of days only.
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
        self.name = name[:NAME_CHARS]
        self._network = network
        keys = member.keys
        durable = member.options.durable
        rules = NameRules.PORTABLE if keys.portable else NameRules.POSIX
        self.index = index
        disk = member.disk
        self.names = DiskNames()
        self.rules = rules
        self.workers = workers
        self.parts = PartStore(disk, clock.seconds)
        self.trash = TrashStore(disk, entropy)
        self.quiet = Quiet()
        self.eye = Eye(
            disk, self.names, self.index, rules=rules, durable=durable, waiting=self.quiet.is_waiting
        )
        contents = Contents(disk, self.names, self.index, self.parts, self.trash, self.eye)
        recovery = Recovery(index=self.index, eye=self.eye, trash=self.trash, wall=wall)
        self.replica = Replica(self.index)
        executor = Executor(
            disk=disk,
            index=self.index,
            eye=self.eye,
            publisher=Publisher(disk, self.names, disk.probe(PARTS)),
            parts=self.parts,
            trash=self.trash,
            contents=contents,
            recovery=recovery,
            durable=durable,
            wall=wall,
        )
        self.steps = Steps(
            disk=disk,
            index=self.index,
            replica=self.replica,
            announcer=Announcer(self.index.item, self.index.number_of, self.index.paths),
            eye=self.eye,
            contents=contents,
            executor=executor,
            recovery=recovery,
            rules=rules,
            unseal=lambda blob: unseal(keys, blob),
            key_of=item_key,
        )
        self.holdings = Holdings()
        self.sync = Sync(
            clock=clock,
            workers=workers,
            steps=self.steps,
            holdings=self.holdings,
            new_rid=lambda: entropy(RID_BYTES),
        )
        self.observer = Observer(
            clock=clock,
            workers=workers,
            eye=self.eye,
            quiet=self.quiet,
            found=self.sync.looked,
            settled=self.sync.settle,
            scanned=self.sync.recheck_trash,
        )
        self.sync.observer = self.observer
        serving = Serving(
            disk=disk, names=self.names, index=self.index, parts=self.parts, trash=self.trash, workers=workers
        )
        self.links = Links(
            network=network,
            node=member.key.node_id,
            keys=keys,
            name=self.name,
            versions=VERSIONS,
            source=serving,
            addresses_of=self.holdings.addresses_of,
            entropy=entropy,
            random=random,
        )
        self.fetcher = Fetcher(
            links=self.links,
            parts=ReusingParts(
                parts=self.parts,
                index=self.index,
                disk=disk,
                names=self.names,
                eye=self.eye,
                paths_wanting=self.sync.wants.paths_of,
            ),
            run_in_thread=workers.bulk,
            clock=clock,
        )
        self.sync.wants.fetcher = self.fetcher
        contents.forget_duplicates()
        self.parts.remove_orphans()
        self.addresses: tuple[Address, ...] = ()
        self.tracking = Tracking(self, entropy(NONCE_BYTES), clock)
        self.client = TrackerClient(
            network=network,
            trackers=member.invite.trackers,
            keys=keys,
            updates=self.tracking,
            entropy=entropy,
            random=random,
        )
        self.sync.tracker = self.client
        self._ports: list[IListeningPort] = []

    # -- life ---------------------------------------------------------------

    async def listen(self, endpoints: Sequence[str]) -> list[IListeningPort]:
        """Listen for other peers on these endpoints; raises `CannotListenError`."""
        for endpoint in endpoints:
            port = await self._network.listen(endpoint, self.links.factory, alpn=PEER_ALPN)
            self._ports.append(port)
        return self._ports

    def start(self, addresses: Sequence[Address]) -> None:
        """Begin: look at the folder, and call the tracker; `addresses` are where others reach this peer."""
        self.addresses = tuple(addresses)
        self.observer.start()
        self.client.start()

    async def stop_listening(self) -> None:
        """Take no more calls."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)

    async def stop(self) -> None:
        """Say goodbye, and end everything that this peer began; the index is closed by its owner."""
        self.observer.stop()
        self.sync.stop()
        self.fetcher.stop()
        await self.client.stop()
        self.links.stop()
        await self.stop_listening()
        # What still runs in the state thread ends before this does.
        await self.workers.state(lambda: None)
