"""A peer as a service: the real reactor, threads, sockets, clock and watch around `assembly.Peer`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Coroutine
from random import SystemRandom
from typing import Any

from attrs import asdict
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p.errors import FolderBusy
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.limits import RETRY_FIRST
from twistedp2p.messages.tracker import Address
from twistedp2p.peer.assembly import Peer
from twistedp2p.peer.change_readers import ChangeReaders, Changes
from twistedp2p.peer.folder.hints import Hint
from twistedp2p.peer.folder.inotify import RealNotifier
from twistedp2p.peer.folder.watch import Watch
from twistedp2p.peer.index import Index
from twistedp2p.peer.listening import listen
from twistedp2p.peer.member import Member
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.purging import Wish
from twistedp2p.peer.settings import PAUSED
from twistedp2p.peer.status import StatusBoard
from twistedp2p.peer.troubles import Code, Trouble, trouble_of
from twistedp2p.peer.workers import ThreadWorkers

__all__ = ["PeerService"]

SAMPLE_SECONDS = 1.0


class PeerService(Service):
    """One peer of one folder.

    `prepare` opens the folder and raises what a person must know before anything starts; `start` begins, and its
    Deferred fires when others can reach this peer. As a Twisted service it does both by itself. A folder that was
    paused starts paused: this process has it, and answers for it, but no `Peer` runs until `resume`. Once it was
    stopped it may be prepared and started again.

    Args:
        reactor: the reactor.
        options: what the person chose.
        own_tracker: gives the address of a tracker in this process, for a share that is begun here.
        entropy: random bytes.
        port_is_trackers: a port in `options.advertise` is that of the tracker in this process, not of the peer.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        options: PeerOptions,
        own_tracker: Callable[[], TrackerAddress] | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        *,
        port_is_trackers: bool = False,
    ) -> None:
        self._reactor = reactor
        self._own_tracker = own_tracker
        self._entropy = entropy
        self._port_is_trackers = port_is_trackers
        self._random = SystemRandom().random
        self._workers = ThreadWorkers(reactor)
        self._index: Index | None = None
        self._watch: Watch | None = None
        self._watched: Deferred[None] | None = None
        self._sampling: LoopingCall | None = None
        self._writing: LoopingCall | None = None
        self._prepared = False
        self._threads = False
        self._ending: Deferred[None] | None = None
        self._one_by_one = DeferredLock()
        self._rest_wanted = False
        self._readers = ChangeReaders()
        self._meanwhile: dict[str, Any] | None = None
        self.paused_since: float | None = None
        """Since when it is paused, seconds since 1970; None if it is not."""
        self.member = Member(options, entropy)
        self.peer: Peer
        self.board: StatusBoard
        self.stopped: Callable[[], None] = lambda: None
        """Called when somebody asks over the control socket that this peer end."""
        self.gave_up: Callable[[], None] = lambda: self.stopped()
        """Called when this peer can not go on; the log has the reason."""
        self.before_release: Callable[[], Deferred[None]] = lambda: succeed(None)
        """Called at the end, before others can have the folder: what belongs to it ends then, its tracker for one."""

    # -- what is known of it ------------------------------------------------

    def invite(self) -> str:
        """Return the invite of the share; known once it is prepared."""
        return self.member.invite.text()

    def status(self) -> dict[str, Any]:
        """Return the state of the peer (see `status`)."""
        return self.board.status() if self._meanwhile is None else self._meanwhile

    def why(self, path: str) -> Deferred[dict[str, Any]]:
        """Return why what the disk has at `path`, below the shared folder, is not in sync (see `reasons`)."""
        return self._when_open(lambda: self.board.why(path))

    def stop(self) -> None:
        """Begin to end: called by the control API."""
        self.stopped()

    def trash(self, place: str | None, pattern: str | None) -> Deferred[dict[str, Any]]:
        """Return some of what is in the trash after `place` (see `purging.Page`), of values that JSON has."""

        def page() -> Deferred[Any]:
            return self._workers.bulk(self.peer.bench.purger.page, place, pattern)

        return self._when_open(page).addCallback(asdict)

    def purge_trash(self, wish: Wish, place: str | None) -> Deferred[dict[str, Any]]:
        """Remove what is wished of some of the trash (see `purging.Purged`); of values that JSON has."""
        return self._when_open(lambda: self.peer.sync.purge_trash(wish, place)).addCallback(asdict)

    def _when_open(self, ask: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """Ask what needs the index, once it is open: it is closed while it takes the place of another one."""
        return ask() if self._meanwhile is None else self._one_by_one.run(ask)

    def in_sync(self) -> Deferred[None]:
        """Return a Deferred that fires when this peer is in sync."""
        return self.peer.sync.when_in_sync()

    def changes(self) -> Changes:
        """Return what changes in the folder from now on, saved here or put there: `async for change in changes`.

        Pauses are no end of it; the end of this service is. What is behind by `limits.CHANGES_WAITING` loses some,
        and is told so. Other readers are not concerned.
        """
        return self._readers.new()

    def speakers(self) -> tuple[object, ...]:
        """Return what logs in the name of this peer besides itself, now; it is something else after a pause."""
        return () if self._watch is None else (self._watch, *self.peer.speakers())

    # -- life ---------------------------------------------------------------

    def prepare(self) -> None:
        """Open the folder, its keys and its index; raises `TwistedP2PError` with a sentence. Blocks shortly."""
        if self._ending is not None and not self._ending.called:
            raise FolderBusy(f"{self.member.folder} is still served: start it again when stopping it is done.")
        if self._prepared:
            return
        self._forget_last_life()
        self.member.open(self._own_tracker)
        try:
            self._index = self.member.open_index()
        except BaseException:
            self.member.close()
            raise
        if self._index.lost:
            self._log.warn("The index was damaged: it lies beside the new one, and the folder is read again")
        self._prepared = True
        self.paused_since = self.member.settings.paused_since()
        self._build()

    def _forget_last_life(self) -> None:
        """Make anew what ended with the service: threads can not be started again, readers hear nothing any more."""
        if self._threads:
            self._workers = ThreadWorkers(self._reactor)
        if self._readers.ended:
            self._readers = ChangeReaders()
        self._threads = self._rest_wanted = False
        self._ending = None

    def _build(self) -> None:
        assert self._index is not None
        self.peer = Peer(
            self.member,
            self._index,
            network=TLSNetwork(self._reactor, self.member.key, self._crowded),
            clock=self._reactor,
            workers=self._workers,
            entropy=self._entropy,
            random=self._random,
            wall=time.time,
            name=self.member.options.name or socket.gethostname(),
        )
        self.peer.tracking.cloned = self._cloned
        self.peer.sync.changed = self._readers.tell
        self.board = StatusBoard(self.peer, self._reactor.seconds, time.time)
        self.board.paused_since = self.paused_since

    def startService(self) -> None:
        """Start, when Twisted starts the application."""
        super().startService()
        self.prepare()
        failures: list[Failure] = []
        starting = True

        def failed(failure: Failure) -> None:
            failures.append(failure)
            if not starting:
                self._gave_up(failure)

        self.start().addErrback(failed)
        starting = False
        if failures:  # listening fails at once, so that whoever starts the application hears it
            failures[0].raiseException()

    def _gave_up(self, failure: Failure) -> None:
        self._log.failure("The peer can not go on", failure=failure)
        self.gave_up()

    def start(self) -> Deferred[None]:
        """Listen, watch, and call the tracker; fires when others can reach this peer. Fails with a sentence."""
        return self._in_turn(self._start)

    def _in_turn(self, change: Callable[[], Coroutine[Any, Any, None]]) -> Deferred[None]:
        """Make a change when those that were asked for before are made."""
        return self._one_by_one.run(lambda: Deferred.fromCoroutine(change()))

    async def _start(self) -> None:
        try:
            addresses: Callable[[], list[Address]] = await self._listen() if self.paused_since is None else list
        except BaseException:
            # Who hears of the failure may end the process at once: nothing runs any more by then.
            self._ending = Deferred.fromCoroutine(self._stop())
            await self._ending
            raise
        # Not before: threads that nobody stops keep the process from ending.
        self._workers.start()
        self._threads = True
        if self.paused_since is None:
            await self._begin(addresses)
        else:
            self._log.info("{folder} is paused: nothing of it moves until it is resumed", folder=self.member.folder)

    async def _begin(self, addresses: Callable[[], list[Address]]) -> None:
        self._watch = Watch(
            reactor=self._reactor,
            clock=self._reactor,
            new_notifier=lambda: RealNotifier(self.member.disk),
            disk=self.member.disk,
            names=self.peer.bench.names,
            rules=self.peer.bench.rules,
            in_thread=self._workers.bulk,
            listener=self,
            ignored=self.peer.bench.ignoring.of,
        )
        self.peer.sync.rescan = self._watch.renew
        # Everything is watched before it is read, so that nothing is missed in between.
        self._watched = self._watch.start()
        await self._watched
        if self._unwanted:
            return
        self.peer.start(addresses)
        if self.member.notice:
            self._log.info("{notice}", notice=self.member.notice)
        invite = self.member.state / "invite"
        self._log.info("Sharing {folder}; its invite, a secret, is in {file}", folder=self.member.folder, file=invite)
        if self.member.unwritable is not None:
            self._say_unwritable(self.member.unwritable)
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = self._reactor
        self._sampling.start(SAMPLE_SECONDS, now=False)

    def _say_unwritable(self, error: OSError) -> None:
        """Say that others are served from a folder that can only be read, and look when that is over."""
        self.peer.sync.failures.trouble("write", trouble_of(error))
        self._writing = LoopingCall(self._try_writing)
        self._writing.clock = self._reactor
        self._writing.start(RETRY_FIRST, now=False)

    def _try_writing(self) -> None:
        with self._log.failuresHandled("Looking whether the folder can be written to failed"):
            if self.member.is_writable_again():
                self._stop_looking()
                self._in_turn(self._take_back).addErrback(self._gave_up)

    async def _take_back(self) -> None:
        """Go on as with any folder: what others changed meanwhile is put in place."""
        if self._unwanted:
            return
        self._stop_looking()
        await self.peer.stop()
        if self._unwanted:
            return
        self._meanwhile = self.board.status()
        try:
            await self._workers.when_read()
            await self._workers.state(self._open_again)
        finally:
            self._meanwhile = None
        self._log.info("{folder} can be written to again", folder=self.member.folder)
        await self._begin(await self._listen())

    def _open_again(self) -> None:
        assert self._index is not None
        self._index.close()
        self.member.take_back()
        self._index = self.member.open_index()
        self._build()

    @property
    def _unwanted(self) -> bool:
        """Whether it was stopped or paused, maybe while something was waited for."""
        return self._ending is not None or self._rest_wanted

    def _sample(self) -> None:
        with self._log.failuresHandled("Counting what moves failed"):
            self.board.sample()

    async def _listen(self) -> Callable[[], list[Address]]:
        """Listen; returns what tells where others reach this peer at the moment."""
        return await listen(self.peer, self.member, port_is_trackers=self._port_is_trackers)

    def stopService(self) -> Deferred[None]:
        """End: say goodbye, let what is under way finish, close the index, let others have the folder.

        It may be started again once the Deferred has fired; before, that raises `FolderBusy`.
        """
        super().stopService()
        if self._ending is None:
            if not self._prepared:
                self._readers.end()
                return succeed(None)
            self._ending = Deferred()
            self._stop_looking()
            self._in_turn(self._stop).chainDeferred(self._ending)
        return self._ending

    async def _stop(self) -> None:
        self._stop_looking()
        self._prepared = False
        if self._threads:
            await self.peer.stop()
            self._workers.stop()
        else:
            await self.peer.stop_listening()
        self._readers.end()
        assert self._index is not None
        self._index.close()
        try:
            await self.before_release()
        finally:
            self.member.close()

    def _stop_looking(self) -> None:
        if self._sampling is not None and self._sampling.running:
            self._sampling.stop()
        if self._writing is not None and self._writing.running:
            self._writing.stop()
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            if self._watched is not None and not self._watched.called:
                self._watched.callback(None)  # a watch that is stopped says nothing more

    # -- pausing ------------------------------------------------------------

    def pause(self) -> Deferred[None]:
        """Say goodbye to all, and let the folder rest, over restarts too, until `resume`; fires when it is done."""
        self._rest_wanted = True
        self._stop_watching()  # what waits until all is watched need not wait any longer
        return self._in_turn(self._pause)

    def resume(self) -> Deferred[None]:
        """Go on; fires when others can reach this peer. Fails with a sentence, and stays paused, if they can not."""
        self._rest_wanted = False
        return self._in_turn(self._resume)

    async def _pause(self) -> None:
        if self._ending is not None or self.paused_since is not None:
            return
        self.paused_since = self.board.paused_since = time.time()
        try:
            self.member.keep_setting(PAUSED, self.paused_since)
        finally:  # if that fails it rests all the same, until this process ends
            self._stop_looking()
            await self.peer.stop()
            # What did not begin yet takes the place of what ended: it has nothing under way to tell of.
            await self._workers.state(self._build)
        self._log.info("{folder} is paused", folder=self.member.folder)

    async def _resume(self) -> None:
        if self._ending is not None or self.paused_since is None:
            return
        try:
            addresses = await self._listen()
            self.member.keep_setting(PAUSED, None)
        except BaseException:
            await self.peer.stop_listening()
            raise
        self.paused_since = self.board.paused_since = None
        self._log.info("{folder} is resumed", folder=self.member.folder)
        await self._begin(addresses)

    # -- the watch tells ----------------------------------------------------

    def hint(self, hint: Hint) -> None:
        """Look at a path once it is quiet."""
        self.peer.quiet.add(hint, self._reactor.seconds())
        self.peer.observer.hinted()

    def overflow(self) -> None:
        """Look at everything: events were lost."""
        self.peer.observer.scan()

    def limited(self, reason: str) -> None:
        """Say that only scans see part of the folder; an empty reason says that this is over."""
        if reason:
            self.peer.sync.failures.trouble("watch", Trouble(Code.TOO_MANY_WATCHES, reason))
        else:
            self.peer.sync.failures.over("watch")

    def root_gone(self) -> None:
        """Look at everything, which finds that the folder is not there any more."""
        self.peer.observer.scan()

    # -- the network tells --------------------------------------------------

    def _crowded(self, error: OSError | None) -> None:
        """Say that nobody can connect, because too many files are open; None says that this is over."""
        if error is not None:
            self.peer.sync.failures.trouble("accept", trouble_of(error))
        else:
            self.peer.sync.failures.over("accept")

    # -- an accident with identity ------------------------------------------

    def _cloned(self) -> None:
        """Go on as another device: another live session has this device key, so this folder is a copy."""
        self._log.warn("Another machine runs with the same device key: this folder is a copy and gets a key of its own")
        self._in_turn(self._begin_anew).addErrback(self._gave_up)

    async def _begin_anew(self) -> None:
        assert self._index is not None
        if self._unwanted:
            return
        self._stop_looking()
        await self.peer.stop()
        if self._unwanted:
            return
        self.member.cloned(self._index)
        self._build()
        await self._begin(await self._listen())
