"""One shared folder that is served in this process: its peer, its own tracker if it has one, its control socket.

The order: open the folder (and take its lock), start its own tracker, start the peer, listen for `status` and the
other commands. It ends in the other direction; the lock is let go last, so that another process that waits for it
finds all ports free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool

from twistedp2p.cli.own_tracker import OwnTracker, everywhere
from twistedp2p.errors import BadAddress, FolderUnusable
from twistedp2p.framing.addresses import Advertised
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.peer.member import Member
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.service import PeerService
from twistedp2p.peer.settings import TRACKER_PORT_KEPT
from twistedp2p.tracker.service import TrackerService
from twistedp2p.web.api import ControlService

__all__ = ["Serving", "Wish"]


@frozen
class Wish:
    """What a person asked for: the peer's options, and more.

    `begins`: a folder that belongs to no share becomes the first of a new one. `names` is "posix", "portable" or
    None. `print_invite` gets the invite once it can be used; None if nobody wants to see it.
    """

    options: PeerOptions
    begins: bool
    names: str | None = None
    print_invite: Callable[[str], None] | None = None


class Serving:
    """One folder; `start` once, then `stop` once. `peer` is there when it was started."""

    def __init__(self, reactor: Any, wish: Wish) -> None:
        self._reactor = reactor
        self._wish = wish
        self._options = wish.options
        self._tracker_service: TrackerService | None = None
        self._control: ControlService | None = None
        self.tracker: OwnTracker | None = None
        """The tracker of this folder, if that runs here."""
        self._peer_service: PeerService | None = None

    async def start(self) -> None:
        """Serve the folder; raises `TwistedP2PError` if that can not be done, and leaves nothing behind then."""
        await self._in_thread(self._recall)
        self._check_endpoints()
        self.tracker = await self._in_thread(self._own_tracker)
        peer = self._peer_service = self._peer(self.tracker)
        peer.before_release = self._stop_tracker
        try:
            await self._in_thread(peer.prepare)
        except BaseException:
            if self.tracker is not None:
                self.tracker.release()
            raise
        try:
            await self._start_all(peer)
        except BaseException:
            await self.stop()
            raise

    def speakers(self) -> list[object]:
        """Return what logs in the name of this folder, at the moment."""
        peer = self._peer_service
        mine = [] if peer is None else [peer, *peer.speakers()]
        return [*mine, *(service for service in (self._control, self._tracker_service) if service is not None)]

    @property
    def peer(self) -> PeerService:
        """The peer; there is one once this was started."""
        assert self._peer_service is not None
        return self._peer_service

    async def stop(self) -> None:
        """Serve it no longer; the peer says goodbye to its tracker, so that one ends after it."""
        if self._control is not None:
            await maybeDeferred(self._control.stopService)
        await self.peer.stopService()

    async def _start_all(self, peer: PeerService) -> None:
        self._check_names(peer.member)
        self._check_tracker(peer.member)
        if self._options.tracker is not None:
            peer.member.keep_setting(TRACKER_PORT_KEPT, None)
        if self.tracker is not None and self.tracker.port is not None:
            await self._start_tracker(self.tracker, peer)
        await peer.start()
        socket = self._options.home.new_control_socket(peer.member.folder, writable=peer.member.unwritable is None)
        control = ControlService(self._reactor, self._reactor, peer, socket)
        control.startService()
        self._control = control

    def _recall(self) -> None:
        """Take what was chosen for the folder before, where nothing is said of it now."""
        # What was kept for a folder that is away looks like nothing; it may be back when it is looked at next.
        self._options.home.require_mark(self._options.folder)
        self._options = Member(self._options).settings.recall(self._options)

    def _check_endpoints(self) -> None:
        for text in self._options.listen:
            try:
                serverFromString(self._reactor, text)
            except (ValueError, TypeError, LookupError, OSError) as error:
                raise BadAddress(
                    f"--listen {text!r} is not an endpoint to listen on ({error}); write it like tcp:17412."
                ) from error

    def _check_names(self, member: Member) -> None:
        actual = "portable" if member.keys.portable else "posix"
        if self._wish.names not in (None, actual):
            raise FolderUnusable(
                f"Which names are allowed is settled when a share begins, and is {actual} in this one: "
                f"leave out --names {self._wish.names}."
            )

    def _check_tracker(self, member: Member) -> None:
        """Have no peer without the tracker that is kept for its folder, which may have been away when that was read."""
        if self.tracker is None and self._options.tracker is None and member.setting(TRACKER_PORT_KEPT) is not None:
            raise FolderUnusable(f"{member.folder} was not there for a moment: try again.")

    # -- its own tracker ----------------------------------------------------

    def _own_tracker(self) -> OwnTracker | None:
        """Return the tracker that this folder has in its own process, or is to have; None if it has none."""
        options = self._options
        member = Member(options)
        kept = member.setting(TRACKER_PORT_KEPT)
        if options.tracker is not None or (kept is None and not self._wish.begins):
            return None
        begun = (member.state / "mark").exists()
        if kept is None and begun:
            return None
        advertised = None if options.advertise is None else Advertised.parse(options.advertise)
        return OwnTracker(member.state, kept if begun else None, advertised)

    def _peer(self, tracker: OwnTracker | None) -> PeerService:
        if tracker is None:
            return PeerService(self._reactor, self._options)
        # A port that was named is the tracker's: it is the one in the invite.
        if tracker.port is None:
            peer = PeerService(
                self._reactor, self._options, own_tracker=lambda: _taken(tracker, peer.member), port_is_trackers=True
            )
            return peer
        # This machine may have another address than last time.
        return PeerService(self._reactor, evolve(self._options, tracker=tracker.address()), port_is_trackers=True)

    async def _start_tracker(self, tracker: OwnTracker, peer: PeerService) -> None:
        assert tracker.port is not None
        named = peer.member.invite.trackers[0]
        service = TrackerService(
            home=tracker.state,
            reactor=self._reactor,
            listen=[everywhere(tracker.port)],
            advertise=Advertised(named.host, named.port),
            only_share=peer.member.keys.share_id,
        )
        tracker.release()
        try:
            await service.start_listening()
        except CannotListenError as error:
            raise FolderUnusable(
                f"Port {tracker.port}, which is the one of this share's tracker, can not be listened on "
                f"({error.socketError}): stop the program that has it."
            ) from error
        service.startService()
        self._tracker_service = service

    def _stop_tracker(self) -> Deferred[None]:
        service, self._tracker_service = self._tracker_service, None
        return maybeDeferred(lambda: None) if service is None else service.stopService()

    def _in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)


def _taken(tracker: OwnTracker, member: Member) -> TrackerAddress:
    """Return the address of a new tracker; its port is kept before an invite can name it."""
    address = tracker.address()
    member.keep_setting(TRACKER_PORT_KEPT, tracker.port)
    return address
