"""A tracker and hand-made members on a network in memory, for the tests of the tracker's conversation."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from tests.framing.memory import Hub, Made, MemoryNetwork, MemoryTransport
from twistedp2p import limits
from twistedp2p.framing.admission import Admission
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import prove
from twistedp2p.framing.network import TRACKER_ALPN
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.proof import Channel, Role
from twistedp2p.identity.seal import item_key
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.tracker import Address, Announce, Blobs, Hello, Need, SetDigest, Welcome
from twistedp2p.tracker.directory import Directory
from twistedp2p.tracker.local import LocalDirectory
from twistedp2p.tracker.protocol import TrackerProtocol
from twistedp2p.tracker.wire import TRACKER

T = TypeVar("T")

NOON = 1_800_000_000.0
"""What the tracker's clock says at the beginning, seconds since 1970."""
TRACKER_AT = ("10.0.0.9", limits.TRACKER_PORT)
KEYS = ShareKeys.derive(b"secret secret 16", portable=False)
OTHER_KEYS = ShareKeys.derive(b"another share 16", portable=False)


def device(name: str) -> DeviceKey:
    """Return the key of the device of that name."""
    return DeviceKey.generate(lambda n: (name * n).encode()[:n])


def blob(number: int) -> bytes:
    """Return a sealed record."""
    return b"\x01record %d" % number


def key(number: int) -> bytes:
    """Return the key of `blob(number)`."""
    return item_key(blob(number))


class Entropy:
    """Bytes that are different each time and the same in each run."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(size, "big")


class Member(FrameProtocol):
    """A member made by hand: says what the test says, and writes down what it hears."""

    def __init__(self, network: MemoryNetwork, name: str, keys: ShareKeys) -> None:
        super().__init__(network, TRACKER, alpn=TRACKER_ALPN, dialled=True)
        self.name = name
        self.keys = keys
        self.heard: list[object] = []
        self.channel: Channel | None = None
        self.lost: Failure | None = None
        self.hub = network.hub

    def secured(self, channel: Channel) -> None:
        self.channel = channel
        self.set_proven()

    def message_received(self, message: object) -> None:
        self.heard.append(message)

    def link_lost(self, reason: Failure) -> None:
        self.lost = reason

    # -- what tests call ------------------------------------------------------

    @property
    def end(self) -> MemoryTransport:
        """This end of the link."""
        assert isinstance(self.transport, MemoryTransport)
        return self.transport

    def say(self, *messages: object) -> None:
        """Send messages and let everything settle."""
        for message in messages:
            self.send_message(message)
        self.hub.pump()

    def take(self, kind: type[T]) -> list[T]:
        """Return what was heard of that kind since it was last asked, and forget it."""
        found = [message for message in self.heard if isinstance(message, kind)]
        self.heard = [message for message in self.heard if not isinstance(message, kind)]
        return found

    def one(self, kind: type[T]) -> T:
        """Return the only message of that kind."""
        (found,) = self.take(kind)
        return found

    def hello(self, **changes: Any) -> Hello:
        """Return a valid Hello for this connection, with changes."""
        assert self.channel is not None
        hello = Hello(
            proof=prove(self.keys, Role.DIAL_TRACKER, self.channel, bytes(16)),
            nonce=b"start 1".ljust(16),
            name=self.name,
            versions=(1,),
            addresses=(Address("0.0.0.0", 7000),),
            epoch=b"",
            cursor=0,
            known=SetDigest(),
            held=SetDigest(),
        )
        return evolve(hello, **changes)

    def join(self, **changes: Any) -> Welcome:
        """Say hello and return the welcome."""
        self.say(self.hello(**changes))
        return self.one(Welcome)

    def announce(self, batch: int, *numbers: int, held: bool = True, full: bool = False) -> None:
        """Announce records by key, and send those that are needed."""
        keys = tuple(sorted(key(number) for number in numbers))
        known, holds = ((), keys) if held else (keys, ())
        self.say(Announce(batch, full, True, known_keys=known, held_keys=holds))
        self.answer_needs({key(number): blob(number) for number in numbers})

    def answer_needs(self, blobs: dict[bytes, bytes]) -> None:
        """Send what was needed."""
        for need in self.take(Need):
            self.say(Blobs(need.batch, True, tuple(blobs[k] for k in need.keys)))


class World:
    """A tracker on a hub; members are made with `member`."""

    def __init__(
        self,
        *,
        keepalive: float = limits.KEEPALIVE,
        expiry: float = limits.EXPIRY,
        only_share: bytes | None = None,
        room: int = limits.TRACKER_BYTES,
        admission: Admission | None = None,
        advertise: str | None = None,
    ) -> None:
        self.hub = Hub()
        self.entropy = Entropy()
        self.clock = self.hub.clock
        self.key = device("tracker")
        self.network = self.hub.network(self.key, TRACKER_AT[0])
        self.directory = Directory(
            self.entropy, keepalive=keepalive, expiry=expiry, only_share=only_share, room=room
        )
        self.local = LocalDirectory(self.directory, self.clock, wall=self.wall, room=room)
        self.admission = admission or Admission()
        self.advertise = advertise
        self.callers: list[TrackerProtocol] = []
        self.network.listen(f"tcp:{TRACKER_AT[1]}", Made(self._take), alpn=TRACKER_ALPN)

    def wall(self) -> float:
        """Return the time of the tracker's clock."""
        return NOON + self.clock.seconds()

    def _take(self, address: IAddress) -> TrackerProtocol | None:
        ticket = self.admission.enter(address)
        if ticket is None:
            return None
        protocol = TrackerProtocol(self.network, self.local, ticket, self.advertise)
        self.callers.append(protocol)
        return protocol

    def dial(
        self, name: str = "a", host: str = "10.0.0.1", keys: ShareKeys = KEYS, alpn: str = TRACKER_ALPN
    ) -> Member:
        """Return a connection that has said nothing yet."""
        network = self.hub.network(device(name), host)
        member = Member(network, name, keys)
        self.hub.connect(network, Made(lambda _: member), TRACKER_AT, alpn)
        self.hub.pump()
        return member

    def member(self, who: str = "a", host: str = "10.0.0.1", keys: ShareKeys = KEYS, **hello: Any) -> Member:
        """Return a connection that has been welcomed; the welcome and the first delta are heard."""
        member = self.dial(who, host, keys)
        member.say(member.hello(**hello))
        return member

    def end(self) -> None:
        """Drop all connections and check that nothing is left behind."""
        for link in list(self.hub.links):
            link.abortConnection()
        self.hub.pump()
        self.local.stop()
        assert not self.clock.getDelayedCalls(), self.clock.getDelayedCalls()
        assert (self.admission.members, self.admission.strangers) == (0, 0)

