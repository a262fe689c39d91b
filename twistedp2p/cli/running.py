"""A peer in the foreground, from a command line to Ctrl-C: what `share` and `join` do.

It ends on SIGINT, SIGTERM, or when it is asked to on its control socket; a second signal ends the process at once,
which is safe.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twistedp2p.cli.display import Display
from twistedp2p.cli.own_tracker import LOOPBACK
from twistedp2p.cli.serving import Serving, Wish
from twistedp2p.errors import TwistedP2PError
from twistedp2p.identity.invite import Invite
from twistedp2p.web.status import parse_status

__all__ = ["Ending", "Running", "in_one_sentence"]


class Ending:
    """The end of a process: `wished` fires when a signal or a person wishes it; call `done` when all has ended."""

    def __init__(self, reactor: Any) -> None:
        self.wished: Deferred[None] = Deferred()
        self._ended: Deferred[None] = Deferred()
        reactor.addSystemEventTrigger("before", "shutdown", self._on_shutdown)

    def wish(self) -> None:
        """Begin to end."""
        if not self.wished.called:
            self.wished.callback(None)

    def done(self) -> None:
        """Let the process end."""
        self._ended.callback(None)

    def _on_shutdown(self) -> Deferred[None] | None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread
                signal.signal(number, signal.SIG_DFL)
        self.wish()
        return None if self._ended.called else self._ended


class Running:
    """One peer in this process; `run` lasts as long as it does."""

    _log = Logger()

    def __init__(self, reactor: Any, wish: Wish, display: Display) -> None:
        self._reactor = reactor
        self._wish = wish
        self._display = display

    async def run(self) -> None:
        """Run until somebody ends it; raises `TwistedP2PError` if it can not start."""
        ending = Ending(self._reactor)
        refreshing = LoopingCall(self._refresh)
        refreshing.clock = self._reactor
        self._serving = Serving(self._reactor, self._wish)
        try:
            await self._serving.start()
            self._serving.peer.stopped = ending.wish
            self._tell()
            refreshing.start(self._display.refresh)
            try:
                await ending.wished
            finally:
                if refreshing.running:
                    refreshing.stop()
                self._display.close()
                await self._serving.stop()
        finally:
            self._display.close()
            ending.done()

    def _tell(self) -> None:
        peer, tracker = self._serving.peer, self._serving.tracker
        invite = peer.member.invite
        if self._wish.print_invite is not None:
            self._display.tell(f"{peer.member.folder} is shared. Whoever has the invite is let in:")
            self._display.tell("    twistedp2p join INVITE DIR     on another machine")
            if tracker is not None and _on_loopback_only(invite):
                self._display.tell(
                    "This machine has no address that others can reach, so the invite is good on this machine only; "
                    "name an address with --advertise."
                )
            self._wish.print_invite(invite.text())
        else:
            self._display.tell(f"{peer.member.folder} is a member of the share {invite.keys().share_id.hex()[:8]}.")

    def _refresh(self) -> None:
        with self._log.failuresHandled("Showing the progress failed"):
            self._display.show([parse_status(self._serving.peer.status())], self._reactor.seconds())


def _on_loopback_only(invite: Invite) -> bool:
    return all(tracker.host == LOOPBACK for tracker in invite.trackers)


async def in_one_sentence(running: Coroutine[Any, Any, None], display: Display) -> None:
    """Let something run; SystemExit with status 1, after one sentence, if it can not start."""
    try:
        await running
    except TwistedP2PError as error:
        display.say(f"twistedp2p: {error}")
        raise SystemExit(1) from error
