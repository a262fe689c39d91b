"""One of the folders that `twistedp2p run` serves: tried again until it can be served, and when it gave up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p.cli.display import Display
from twistedp2p.cli.logs import Speakers
from twistedp2p.cli.serving import Serving, Wish
from twistedp2p.cli.words import shown
from twistedp2p.errors import FolderBusy, TwistedP2PError
from twistedp2p.limits import FOLDER_RETRY_FIRST, FOLDER_RETRY_MOST, FOLDERS_LOOK
from twistedp2p.peer.service import PeerService

__all__ = ["Keeper"]


class Keeper:
    """Serves one folder from `begin` to `end`, or until somebody stops its peer; then `stopped` is true."""

    _log = Logger()

    def __init__(self, reactor: Any, wish: Wish, display: Display, speakers: Speakers) -> None:
        self._reactor = reactor
        self._wish = wish
        self._display = display
        self._speakers = speakers
        self._name = str(wish.options.folder)
        self._running: Deferred[None] | None = None
        self._ending = False
        self._until: Deferred[None] | None = None
        self._said = ""
        self.peer: PeerService | None = None
        """The peer, while it runs."""
        self.stopped = False
        """Whether somebody stopped the peer: it is not started again."""
        self.trouble = ""
        """Why the folder can not be served now, a sentence; empty if it is."""

    def begin(self) -> None:
        """Begin to serve the folder."""
        self._running = Deferred.fromCoroutine(self._keep())
        self._running.addBoth(self._kept)

    def end(self) -> Deferred[None]:
        """Serve it no longer; fires when it is free, and does not fail."""
        self._ending = True
        self._go_on()
        assert self._running is not None
        ended: Deferred[None] = Deferred()
        self._running.addBoth(lambda _: ended.callback(None))
        return ended

    def _kept(self, result: Failure | None) -> None:
        self._speakers.remove(self._name)
        if result is not None:
            self._log.failure("Serving {folder} failed", failure=result, folder=self._name)

    # -- trying -------------------------------------------------------------

    async def _keep(self) -> None:
        wait = FOLDER_RETRY_FIRST
        while not (self._ending or self.stopped):
            serving = Serving(self._reactor, self._wish)
            self._speakers.add(self._name, serving.speakers)
            try:
                await serving.start()
            except FolderBusy:
                # Whoever has it ends some time, and then it must not take long.
                self._say("is served by another process now; this one goes on with it when that ends.", tell=True)
                await self._sleep(FOLDERS_LOOK)
                continue
            except TwistedP2PError as error:
                self._say(str(error))
            except Exception:
                # A bug that one folder brings to light must not keep the others from being served.
                self._log.failure("Serving {folder} failed", folder=self._name)
                self._say("can not be served; the log tells why.")
            else:
                self._said = self.trouble = ""
                wait = FOLDER_RETRY_FIRST
                await self._serve(serving)
                if self.stopped or self._ending:
                    return
            await self._sleep(wait)
            wait = min(2 * wait, FOLDER_RETRY_MOST)

    async def _serve(self, serving: Serving) -> None:
        """Let the peer run until it is stopped, gives up, or this ends."""
        peer = self.peer = serving.peer
        peer.stopped = self._stop
        peer.gave_up = self._go_on
        try:
            if not self._ending:
                self._until = Deferred()
                await self._until
        finally:
            self._until = self.peer = None
            await serving.stop()

    def _stop(self) -> None:
        self.stopped = True
        self._display.tell(f"{shown(self._name)} is stopped; it is served again when this program is started anew.")
        self._go_on()

    def _go_on(self) -> None:
        until, self._until = self._until, None
        if until is not None:
            until.callback(None)

    async def _sleep(self, seconds: float) -> None:
        if self._ending:
            return
        sleeping: Deferred[None] = deferLater(self._reactor, seconds)
        self._until = Deferred()
        self._until.addCallback(lambda _: sleeping.cancel())
        try:
            await sleeping
        except CancelledError:
            pass
        finally:
            self._until = None

    def _say(self, text: str, *, tell: bool = False) -> None:
        """Say, once, what keeps the folder from being served."""
        self.trouble = text
        if text != self._said:
            self._said = text
            say: Callable[[str], None] = self._display.tell if tell else self._display.say
            say(f"{shown(self._name)}: {shown(text)}")
