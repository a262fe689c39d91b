"""Who can be reached from here: the trackers of an invite, this peer's own port, and the other members.

All is done with a throw-away device key: a running peer, or one that is started meanwhile, is not disturbed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from twistedp2p.cli.diagnosis import Finding, Level, judge_answer
from twistedp2p.cli.words import count, shown
from twistedp2p.errors import BadAddress, TwistedP2PError
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.knock import Answer, Ending, knock, resolved
from twistedp2p.framing.network import PEER_ALPN, TRACKER_ALPN
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.device import DeviceKey, node_id_of, node_text, pin_of
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.peer.tracking import VERSIONS, clock_trouble
from twistedp2p.tracker.guest import visit

__all__ = ["Neighbourhood"]

_MOST_PEERS = 20
_FIREWALL = (
    "Let TCP in on that port (firewall, router), or name the right address with --advertise. Members that can not "
    "dial this one are dialled by it."
)


@frozen
class _Other:
    """Another member: how it is called, its node id as text, where it says it is, what versions it speaks."""

    name: str
    node: str
    places: tuple[Address, ...]
    versions: tuple[int, ...] = VERSIONS


class Neighbourhood:
    """What one folder has to reach.

    Args:
        reactor: for the network.
        key: a device key that nobody else has.
        invite: of the share.
        status: what the running peer says; empty if none runs.
        own_tracker: whether the folder's own peer runs the tracker.
        in_thread: runs what blocks, with a deadline.
        wall: seconds since 1970.
        entropy: random bytes.
    """

    def __init__(
        self,
        reactor: Any,
        key: DeviceKey,
        invite: Invite,
        status: dict[str, Any],
        *,
        own_tracker: bool,
        in_thread: Callable[[Callable[[], list[str]]], Deferred[list[str]]],
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._network = TLSNetwork(reactor, key)
        self._invite = invite
        self._status = status
        self._own_tracker = own_tracker
        self._in_thread = in_thread
        self._wall = wall
        self._entropy = entropy

    def checks(self) -> list[Awaitable[Sequence[Finding]]]:
        """Return all checks, to be awaited together."""
        if not self._status:
            return [self._tracker(tracker, True) for tracker in self._invite.trackers]
        return [
            *(self._tracker(tracker, False) for tracker in self._invite.trackers),
            self._session(),
            self._own_port(),
            self._others(_listed(self._status)),
        ]

    # -- trackers -------------------------------------------------------------

    async def _tracker(self, tracker: TrackerAddress, as_guest: bool) -> list[Finding]:
        """Judge a tracker; as a guest, when no peer runs that could tell, hear what it says to a member too."""
        answer = await self._knock(tracker.host, tracker.port, TRACKER_ALPN)
        actual = pin_of(answer.spki) if answer.spki else b""
        finding = judge_answer("tracker", "The tracker", tracker.address, answer, tracker.pin, actual)
        if finding.level is Level.OK:
            return [finding, *(await self._as_member(tracker) if as_guest else ())]
        if self._own_tracker and not self._status and answer.ending is Ending.NO_ROUTE:
            text = f"The tracker of this share runs with this folder's own peer, at {tracker.address}, and not now."
            return [Finding("tracker", Level.WARNING, text, "Start the peer: others find each other by it.")]
        return [finding]

    async def _as_member(self, tracker: TrackerAddress) -> list[Finding]:
        began = self._wall()
        try:
            told = await visit(self._network, tracker, self._invite.keys(), versions=VERSIONS, entropy=self._entropy)
        except TwistedP2PError as error:
            return [Finding("member", Level.PROBLEM, str(error), "See the log of the tracker.")]
        found = [Finding("member", Level.OK, f"{tracker.address} takes this folder for a member")]
        if told.time is not None:
            found += _clock(told.time - (began + self._wall()) / 2)
        others = [_of_info(info) for info in told.peers]
        return [*found, *await self._others(others)]

    async def _session(self) -> list[Finding]:
        """Judge the running peer's session."""
        tracker = self._status.get("tracker") or {}
        if self._status.get("state") == "paused":
            return []
        if tracker.get("connected"):
            found = [Finding("member", Level.OK, f"the peer is connected with {tracker.get('address')}")]
            offset = tracker.get("clock_offset")
            return found + (_clock(offset) if isinstance(offset, (int, float)) else [])
        why = tracker.get("trouble") or "It has no session with a tracker."
        return [Finding("member", Level.PROBLEM, shown(str(why)), "See what is said of the tracker here.")]

    # -- peers ----------------------------------------------------------------

    async def _own_port(self) -> list[Finding]:
        """Judge whether this machine reaches its own peer where others are told that it is."""
        places = _addresses(self._status.get("addresses") or ())
        found = []
        for place in places:
            answer = await self._knock(place.host, place.port, PEER_ALPN)
            actual = node_text(node_id_of(answer.spki)).encode() if answer.spki else b""
            expected = str(self._status.get("node", "")).encode()
            finding = judge_answer("port", "This peer", _text(place), answer, expected, actual)
            if finding.level is Level.OK:
                text = f"this peer answers at {_text(place)}; whether others come through, only they can tell"
                found.append(Finding("port", Level.OK, text))
            else:
                found.append(Finding("port", Level.WARNING, finding.text, _FIREWALL))
        return found

    async def _others(self, others: Sequence[_Other]) -> list[Finding]:
        if not others:
            return [Finding("peers", Level.OK, "no other member is alive now")]
        waiting = [Deferred.fromCoroutine(self._other(other)) for other in others[:_MOST_PEERS]]
        found = [await one for one in waiting]
        more = len(others) - len(found)
        return found + ([Finding("peers", Level.OK, f"{count(more, 'more member')} not tried")] if more > 0 else [])

    async def _other(self, other: _Other) -> Finding:
        """Judge one member: the first of its addresses that answers counts."""
        who = f"{shown(other.name) or 'a member'} ({other.node[:8]})"
        if not set(other.versions) & set(VERSIONS):
            theirs = ", ".join(map(str, other.versions))
            text = f"{who} speaks versions {theirs} of the conversation, and this one {', '.join(map(str, VERSIONS))}."
            return Finding("peers", Level.PROBLEM, text, "Update the older of the two.")
        said = []
        for place in other.places:
            answer = await self._knock(place.host, place.port, PEER_ALPN)
            actual = node_text(node_id_of(answer.spki)).encode() if answer.spki else b""
            finding = judge_answer("peers", who, _text(place), answer, other.node.encode(), actual)
            if finding.level is Level.OK:
                return finding
            said.append(finding.text)
        text = " ".join(said) or f"{who} can not be dialled: it has no address."
        advice = "It can dial this one instead, if this one's port can be reached; else look at its firewall."
        return Finding("peers", Level.WARNING, text, advice)

    # -- one address -------------------------------------------------------------

    async def _knock(self, host: str, port: int, alpn: str) -> Answer:
        """Return what is heard there; of several addresses of a name, the first that is not silent."""
        try:
            addresses = await self._in_thread(lambda: resolved(host))
        except (TimeoutError, CancelledError):
            return Answer(Ending.NO_ROUTE, f"the name {host} was not found in time")
        except OSError as error:
            return Answer(Ending.NO_ROUTE, error.strerror or str(error))
        answer = Answer(Ending.NO_ROUTE, "the name has no address")
        for address in addresses[:4]:
            answer = await knock(self._network, address, port, alpn=alpn)
            if answer.ending is not Ending.NO_ROUTE:
                break
        return answer


def _clock(offset: float) -> list[Finding]:
    trouble = clock_trouble(offset)
    if trouble:
        return [Finding("clock", Level.WARNING, trouble)]
    return [Finding("clock", Level.OK, f"the tracker's clock differs by {abs(offset):.1f} s")]


def _of_info(info: PeerInfo) -> _Other:
    return _Other(info.name, node_text(info.node), tuple(info.addresses), tuple(info.versions))


def _listed(status: dict[str, Any]) -> list[_Other]:
    peers = [peer for peer in status.get("peers") or () if isinstance(peer, dict)]
    return [
        _Other(str(peer.get("name", "")), str(peer.get("node", "")), tuple(_addresses(peer.get("addresses") or ())))
        for peer in peers
    ]


def _addresses(texts: Iterable[object]) -> list[Address]:
    found = []
    for text in texts:
        try:
            place = Advertised.parse(str(text))
        except BadAddress:
            continue
        if place.port is not None:
            found.append(Address(place.host, place.port))
    return found


def _text(place: Address) -> str:
    return f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}"
