"""A peer in the foreground, from a command line to Ctrl-C: what `share` and `join` do.

The order: open the folder (and take its lock), start its own tracker if it has one, start the peer, listen for
`status` and `invite`, print the invite. It ends in the other direction, on SIGINT, SIGTERM, or when it is asked to
on its control socket; a second signal ends the process at once, which is safe.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twistedp2p.cli.display import Display
from twistedp2p.cli.own_tracker import LOOPBACK, OwnTracker, everywhere
from twistedp2p.errors import BadAddress, FolderUnusable, TwistedP2PError
from twistedp2p.framing.addresses import Advertised
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.peer.member import Member
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.service import PeerService
from twistedp2p.tracker.service import TrackerService
from twistedp2p.web.api import ControlService
from twistedp2p.web.status import parse_status

__all__ = ["Running", "Wish", "run_in_foreground"]

_TRACKER_PORT = "tracker_port"
"""The setting of a folder that has its own tracker."""


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


class Running:
    """One peer in this process; `run` lasts as long as it does."""

    _log = Logger()

    def __init__(self, reactor: Any, wish: Wish, display: Display) -> None:
        self._reactor = reactor
        self._wish = wish
        self._display = display
        self._wanted_end: Deferred[None] = Deferred()
        self._ended: Deferred[None] = Deferred()
        self._services: list[Service] = []

    async def run(self) -> None:
        """Run until somebody ends it; raises `TwistedP2PError` if it can not start."""
        self._reactor.addSystemEventTrigger("before", "shutdown", self._on_shutdown)
        refreshing: LoopingCall | None = None
        try:
            self._check_endpoints()
            peer = await self._start()
            refreshing = LoopingCall(self._refresh, peer)
            refreshing.clock = self._reactor
            refreshing.start(self._display.refresh)
            await self._wanted_end
        finally:
            if refreshing is not None and refreshing.running:
                refreshing.stop()
            self._display.close()
            # The peer says goodbye to its tracker, so that one comes last.
            for service in self._services:
                await maybeDeferred(service.stopService)
            self._ended.callback(None)

    def end(self) -> None:
        """Begin to end."""
        if not self._wanted_end.called:
            self._wanted_end.callback(None)

    def _on_shutdown(self) -> Deferred[None] | None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread
                signal.signal(number, signal.SIG_DFL)
        self.end()
        return None if self._ended.called else self._ended

    # -- starting -----------------------------------------------------------

    def _check_endpoints(self) -> None:
        for text in self._wish.options.listen:
            try:
                serverFromString(self._reactor, text)
            except (ValueError, TypeError, LookupError, OSError) as error:
                raise BadAddress(
                    f"--listen {text!r} is not an endpoint to listen on ({error}); write it like tcp:17412."
                ) from error

    async def _start(self) -> PeerService:
        tracker = await self._in_thread(self._own_tracker)
        peer = self._peer(tracker)
        peer.stopped = self.end
        try:
            await self._in_thread(peer.prepare)
        except BaseException:
            if tracker is not None:
                tracker.release()
            raise
        self._check_names(peer.member)
        if self._wish.options.tracker is not None:
            peer.member.keep_setting(_TRACKER_PORT, None)
        if tracker is not None and tracker.port is not None:
            await self._start_tracker(tracker, peer)
        # A peer that can not start stops itself; one that never began has nothing to stop.
        await peer.start()
        self._services.insert(0, peer)
        control = ControlService(
            self._reactor, self._reactor, peer, self._wish.options.home.control_socket(peer.member.folder)
        )
        control.startService()
        self._services.insert(0, control)
        self._tell(peer, tracker)
        return peer

    def _own_tracker(self) -> OwnTracker | None:
        """Return the tracker that this folder has in its own process, or is to have; None if it has none."""
        options = self._wish.options
        member = Member(options)
        kept = member.setting(_TRACKER_PORT)
        if options.tracker is not None or (kept is None and not self._wish.begins):
            return None
        begun = (member.state / "mark").exists()
        if kept is None and begun:
            return None
        advertised = None if options.advertise is None else Advertised.parse(options.advertise)
        return OwnTracker(member.state, kept if begun else None, advertised)

    def _peer(self, tracker: OwnTracker | None) -> PeerService:
        options = self._wish.options
        if tracker is None:
            return PeerService(self._reactor, options)
        if options.advertise is not None:
            # A port that was named is the tracker's: it is the one in the invite.
            options = evolve(options, advertise=Advertised.parse(options.advertise).host)
        if tracker.port is None:
            peer = PeerService(self._reactor, options, own_tracker=lambda: _taken(tracker, peer.member))
            return peer
        # This machine may have another address than last time.
        return PeerService(self._reactor, evolve(options, tracker=tracker.address()))

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
        self._services.append(service)

    def _check_names(self, member: Member) -> None:
        actual = "portable" if member.keys.portable else "posix"
        if self._wish.names not in (None, actual):
            raise FolderUnusable(
                f"Which names are allowed is settled when a share begins, and is {actual} in this one: "
                f"leave out --names {self._wish.names}."
            )

    def _in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    # -- telling ------------------------------------------------------------

    def _tell(self, peer: PeerService, tracker: OwnTracker | None) -> None:
        invite = peer.member.invite
        if self._wish.print_invite is not None:
            self._display.say(f"{peer.member.folder} is shared. Whoever has the invite is let in:")
            self._display.say("    twistedp2p join INVITE DIR     on another machine")
            if tracker is not None and _on_loopback_only(invite):
                self._display.say(
                    "This machine has no address that others can reach, so the invite is good on this machine only; "
                    "name an address with --advertise."
                )
            self._wish.print_invite(invite.text())
        else:
            self._display.say(f"{peer.member.folder} is a member of the share {invite.keys().share_id.hex()[:8]}.")

    def _refresh(self, peer: PeerService) -> None:
        with self._log.failuresHandled("Showing the progress failed"):
            self._display.show(parse_status(peer.status()), self._reactor.seconds())


def _taken(tracker: OwnTracker, member: Member) -> TrackerAddress:
    """Return the address of a new tracker; its port is kept before an invite can name it."""
    address = tracker.address()
    member.keep_setting(_TRACKER_PORT, tracker.port)
    return address


def _on_loopback_only(invite: Invite) -> bool:
    return all(tracker.host == LOOPBACK for tracker in invite.trackers)


async def run_in_foreground(reactor: Any, wish: Wish, display: Display) -> None:
    """Run a peer; SystemExit with status 1, after one sentence, if it can not start."""
    try:
        await Running(reactor, wish, display).run()
    except TwistedP2PError as error:
        display.say(f"twistedp2p: {error}")
        raise SystemExit(1) from error
