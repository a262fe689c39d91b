"""All shared folders of a person in one process: what `run` does.

The list of folders is looked at every few seconds: one that is shared or joined meanwhile is served as soon as the
command that did it ends, one that is left or was renamed no longer. Each folder is served for itself (`keeper`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twistedp2p.cli.display import Display
from twistedp2p.cli.keeper import Keeper
from twistedp2p.cli.logs import Speakers
from twistedp2p.cli.running import Ending
from twistedp2p.cli.serving import Wish
from twistedp2p.errors import FolderUnusable, TwistedP2PError
from twistedp2p.home import Home
from twistedp2p.limits import FOLDERS_LOOK
from twistedp2p.peer.options import PeerOptions
from twistedp2p.web.api import ProcessControlService
from twistedp2p.web.status import parse_status

__all__ = ["Household"]


class Household:
    """All folders of `home`, in this process; `run` lasts as long as it does.

    `waits`: without any folder it waits for one, else that is an error.
    """

    _log = Logger()

    def __init__(self, reactor: Any, home: Home, display: Display, speakers: Speakers, *, waits: bool) -> None:
        self._reactor = reactor
        self._home = home
        self._display = display
        self._speakers = speakers
        self._waits = waits
        self._keepers: dict[Path, Keeper] = {}
        self._leaving: list[Deferred[None]] = []
        self._said = ""

    async def run(self) -> None:
        """Run until somebody ends it; raises `TwistedP2PError` if it can not start."""
        self._ending = Ending(self._reactor)
        try:
            with self._home.running():
                await self._run()
        finally:
            self._display.close()
            self._ending.done()

    async def _run(self) -> None:
        folders = await self._folders()
        if not folders and not self._waits:
            raise FolderUnusable("There is no shared folder yet: make one with `twistedp2p share DIR`.")
        control = ProcessControlService(self._reactor, self._reactor, self, self._home.run_socket())
        control.startService()
        calls = [
            (LoopingCall(self._look_again), FOLDERS_LOOK),
            (LoopingCall(self._refresh), self._display.refresh),
        ]
        for call, seconds in calls:
            call.clock = self._reactor
            call.start(seconds)
        if not folders:
            self._display.tell("There is no shared folder yet; this goes on with the first one that there is.")
        try:
            await self._ending.wished
        finally:
            for call, _ in calls:
                call.stop()
            self._display.close()
            await gatherResults([*(keeper.end() for keeper in self._keepers.values()), *self._leaving])
            await (control.stopService() or succeed(None))

    # -- which folders ------------------------------------------------------

    def _folders(self) -> Deferred[list[Path]]:
        def read() -> list[Path]:
            return [member.folder for member in self._home.members()]

        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), read)

    def _look_again(self) -> Deferred[None]:
        looking = Deferred.fromCoroutine(self._look())
        # A failure would end the call for ever.
        return looking.addErrback(lambda failure: self._log.failure("Looking for folders failed", failure=failure))

    async def _look(self) -> None:
        """Begin with folders that are new, and end with those that are gone."""
        try:
            folders = await self._folders()
        except TwistedP2PError as error:
            if str(error) != self._said:
                self._display.say(f"twistedp2p: {error}")
            self._said = str(error)
            return
        self._said = ""
        if self._ending.wished.called:
            return
        for folder in self._keepers.keys() - set(folders):
            self._leave(self._keepers.pop(folder))
        for folder in folders:
            if folder not in self._keepers:
                wish = Wish(PeerOptions(folder, self._home), begins=False)
                keeper = self._keepers[folder] = Keeper(self._reactor, wish, self._display, self._speakers)
                keeper.begin()

    def _leave(self, keeper: Keeper) -> None:
        leaving = keeper.end()
        self._leaving.append(leaving)
        leaving.addCallback(lambda _: self._leaving.remove(leaving))

    # -- telling ------------------------------------------------------------

    def _refresh(self) -> None:
        with self._log.failuresHandled("Showing the progress failed"):
            peers = [keeper.peer for keeper in self._keepers.values() if keeper.peer is not None]
            self._display.show([parse_status(peer.status()) for peer in peers], self._reactor.seconds())

    def status(self) -> Mapping[str, Any]:
        """Return how each folder stands, of values that JSON has."""
        folders = []
        for folder, keeper in self._keepers.items():
            state = "stopped" if keeper.stopped else "waiting"
            if keeper.peer is not None:
                state = str(keeper.peer.status()["state"])
            folders.append({"folder": str(folder), "state": state, "text": keeper.trouble})
        return {"folders": folders}

    def stop(self) -> None:
        """Begin to end: called by the control API."""
        self._ending.wish()
