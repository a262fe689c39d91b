"""Watch the shared folder for changes, on the reactor: a hint within milliseconds, scans remain the truth.

1. `Watch.start` puts a watch on each folder, the state folder excepted, from the top down; when its Deferred fires
   all are in place and a scan misses nothing.
2. A new folder is given its watch at once, then is listed for the folders in it, which get theirs; when all are in
   place it is hinted at as a whole, so that what was made in it before its watch is found.
3. The two halves of a rename are paired. One that stays alone for `limits.RENAME_PAIR` is a move out of the share.
4. A folder that can not be watched now, for want of permission or because the system allows no more watches, is tried
   again every `limits.WATCH_AGAIN`, and hinted at as a whole when it is watched at last.
5. When the kernel's queue overflows, or a folder is renamed while watches below it are being placed, all begins
   anew, and the listener is told to scan.

Placing watches and listing happen in worker threads; everything else is short enough for the reactor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.disk.seam import Disk
from twistedp2p.errors import BadPath
from twistedp2p.limits import EARLY_EVENTS, RENAME_PAIR, WATCH_AGAIN, WATCH_SLICE
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.folder import inotify
from twistedp2p.peer.folder.hints import Hint, Listener, What
from twistedp2p.peer.folder.inotify import Event, Notifier
from twistedp2p.peer.folder.names import DiskNames, child_path, may_be_shared
from twistedp2p.peer.folder.placing import Placed, learn_name, place_watches
from twistedp2p.peer.folder.watched import Folder, Tree
from twistedp2p.versions import Kind

__all__ = ["Watch"]

_FILE_EVENTS = (
    (inotify.CLOSE_WRITE, What.CLOSED),
    (inotify.CREATE, What.CREATED),
    (inotify.MODIFY, What.MODIFIED),
    (inotify.ATTRIB, What.ATTRIB),
)


@frozen
class _Leaving:
    """The first half of a rename: where from, and the folder itself if it was one that is watched."""

    path: RelPath
    is_folder: bool
    folder: Folder | None


@implementer(IReadDescriptor)
class Watch:
    """Watches one shared folder from `start` until `stop`.

    Args:
        reactor: where the queue of events is waited on.
        clock: for pairing renames.
        new_notifier: makes a queue of the kernel; raises OSError if the system allows none.
        in_thread: runs a blocking function with its arguments in a worker thread; a Deferred of its result.
        names: learns names that are not in Unicode's normal form C.
        ignored: what is not shared by choice; such folders are not watched. `renew` when it answers differently.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        new_notifier: Callable[[], Notifier],
        disk: Disk,
        names: DiskNames,
        rules: NameRules,
        in_thread: Callable[..., Deferred[Any]],
        listener: Listener,
        ignored: Callable[[RelPath, Kind], bool] = lambda path, kind: False,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._new_notifier = new_notifier
        self._disk = disk
        self._names = names
        self._rules = rules
        self._in_thread = in_thread
        self._listener = listener
        self._ignored = ignored
        self._started = False
        self._notifier: Notifier | None = None
        self._tree = Tree()
        self._pending: list[Folder] = []
        self._placing: Notifier | None = None
        self._new: list[Folder] = []
        self._early: dict[int, list[Event]] = {}
        self._early_events = 0
        self._in_doubt = False
        self._leaving: dict[int, _Leaving] = {}
        # Of one reading: a new file comes with three events or more.
        self._paths: dict[tuple[Folder, bytes], RelPath | None] = {}
        self._pair_timer: IDelayedCall | None = None
        self._ready: Callable[[], None] = lambda: None
        self._told_limit = False
        self._unwatched: list[Folder] = []
        self._retried: set[Folder] = set()
        self._again_timer: IDelayedCall | None = None

    def start(self) -> Deferred[None]:
        """Begin; fires when every folder is watched, or was said to be beyond the limit."""
        started: Deferred[None] = Deferred()
        self._started = True
        self._begin(lambda: started.callback(None))
        return started

    def renew(self) -> None:
        """Place all watches anew, because other folders are ignored now; then the listener is told to scan."""
        if self._started:
            self._start_over()

    def stop(self) -> None:
        """Watch no more; harmless if not started."""
        self._started = False
        self._let_go()

    def _let_go(self) -> None:
        self._ready = lambda: None
        for timer in (self._pair_timer, self._again_timer):
            if timer is not None:
                timer.cancel()
        self._pair_timer = self._again_timer = None
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            self._reactor.removeReader(self)
            if notifier is not self._placing:  # else when the thread that uses it is done
                notifier.close()

    # -- Twisted calls these ------------------------------------------------

    def fileno(self) -> int:
        """Return what the reactor waits on; -1 when stopped."""
        return -1 if self._notifier is None else self._notifier.fileno()

    def logPrefix(self) -> str:
        """Return how the reactor names this in its log."""
        return "folder watch"

    def doRead(self) -> None:
        """Take the events that are there."""
        if self._notifier is None:
            return
        self._paths.clear()
        for event in inotify.decode(self._notifier.read()):
            if event.mask & inotify.Q_OVERFLOW:
                self._log.warn("The system dropped file events; the folder is scanned in full")
                self._start_over()
                return
            self._take(event)
            if self._notifier is None:
                return

    def connectionLost(self, reason: Failure) -> None:
        """Called if the descriptor fails, or when the reactor stops."""
        self.stop()

    # -- placing watches ----------------------------------------------------

    def _begin(self, ready: Callable[[], None], refused: Callable[[], None] | None = None) -> None:
        """Watch everything from the top down, then call `ready`; `refused` instead if the system gives no queue."""
        self._tree = Tree()
        self._unwatched, self._retried = [], set()
        self._new, self._in_doubt = [], False
        self._early.clear()
        self._early_events = 0
        self._leaving.clear()
        self._paths.clear()
        self._ready = ready
        try:
            self._notifier = self._new_notifier()
        except OSError as error:
            self._limit(inotify.no_queue(error))
            self._ready = lambda: None
            self._try_again_later()
            (refused or ready)()
            return
        self._reactor.addReader(self)
        self._pending = [self._tree.root]
        self._place()

    def _start_over(self) -> None:
        ready = self._ready  # of `start`, if that is still under way

        def placed_again() -> None:
            ready()
            self._listener.overflow()

        self._let_go()
        self._begin(placed_again)

    def _place(self) -> None:
        """Place the watches that are pending, a slice at a time; then tell what is new."""
        if self._notifier is None or self._placing is not None:
            return
        # One that was replaced since must not be placed: both would get the same watch, and one would end it.
        self._pending = [folder for folder in self._pending if folder.attached]
        if not self._pending:
            self._all_placed()
            return
        slice_, self._pending = self._pending[:WATCH_SLICE], self._pending[WATCH_SLICE:]
        notifier = self._placing = self._notifier
        placing = self._in_thread(place_watches, notifier, self._disk, [folder.name() for folder in slice_])

        def done(result: list[Placed] | Failure) -> None:
            if self._notifier is not notifier:  # stopped or begun anew meanwhile
                notifier.close()
            elif isinstance(result, Failure):
                self._log.failure("Watching the folder failed", failure=result)
                self._limit("The folder can not be watched for changes; the log tells why. Only scans see them.")
                self._pending = []
            else:
                for folder, placed in zip(slice_, result, strict=True):
                    self._placed(folder, placed)
            self._placing = None
            self._place()

        placing.addBoth(done)

    def _placed(self, folder: Folder, placed: Placed) -> None:
        if placed.full:
            self._limit(inotify.no_watches())
        if placed.watch < 0:
            if placed.again:
                self._unwatched.append(folder)
            return
        if folder in self._retried:
            self._new.append(folder)  # what happened in it so far was not seen
        if not self._tree.watched(folder, placed.watch):
            self._in_doubt = True  # the same folder under two names: one of them is out of date
        if not folder.attached:  # removed or moved away meanwhile
            self._drop(folder)
            return
        for component in placed.folders:
            if component not in folder.children and self._is_wanted(folder, component):
                self._pending.append(folder.add(component))
        for event in self._early.pop(placed.watch, ()):
            self._take(event)

    def _all_placed(self) -> None:
        self._early.clear()
        self._early_events = 0
        if self._in_doubt:
            self._start_over()
            return
        new, self._new = self._new, []
        for folder in new:
            path = self._path(folder) if folder.attached else None
            if path is not None:
                self._listener.hint(Hint(path, What.FOLDER))
        ready, self._ready = self._ready, lambda: None
        ready()
        self._go_on_with_unwatched()

    def _go_on_with_unwatched(self) -> None:
        """Try the next folders that could not be watched: at once if the last ones can be by now, else later."""
        retried, self._retried = self._retried, set()
        if self._notifier is None:
            return
        if not self._unwatched:
            if self._told_limit:
                self._told_limit = False
                self._listener.limited("")
        elif retried and retried.isdisjoint(self._unwatched):
            self._try_again()
        else:
            self._try_again_later()

    def _try_again_later(self) -> None:
        if self._again_timer is None:
            self._again_timer = self._clock.callLater(WATCH_AGAIN, self._timed)

    def _timed(self) -> None:
        self._again_timer = None
        if self._notifier is None:
            self._begin(self._listener.overflow, lambda: None)
        else:
            self._try_again()

    def _try_again(self) -> None:
        waiting = [folder for folder in self._unwatched if folder.attached]
        slice_, self._unwatched = waiting[:WATCH_SLICE], waiting[WATCH_SLICE:]
        self._retried = set(slice_)
        self._pending += slice_
        self._place()

    def _limit(self, reason: str) -> None:
        if not self._told_limit:
            self._told_limit = True
            self._listener.limited(reason)

    # -- events -------------------------------------------------------------

    def _take(self, event: Event) -> None:
        folder = self._tree.by_watch.get(event.watch)
        if folder is None:
            self._take_early(event)
        elif not event.name:
            self._of_itself(folder, event)
        else:
            path = self._path_in(folder, event.name)
            if path is not None:
                self._take_named(folder, event, path)

    def _take_early(self, event: Event) -> None:
        """Keep an event of a folder whose watch was placed, but has not been reported by the thread yet."""
        if self._placing is None or self._in_doubt:
            return
        self._early.setdefault(event.watch, []).append(event)
        self._early_events += 1
        if self._early_events > EARLY_EVENTS:
            self._early.clear()
            self._in_doubt = True

    def _of_itself(self, folder: Folder, event: Event) -> None:
        if event.mask & inotify.IGNORED:
            self._tree.unwatched(event.watch)
        elif folder is self._tree.root and event.mask & (inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT):
            self._listener.root_gone()

    def _take_named(self, folder: Folder, event: Event, path: RelPath) -> None:
        is_folder = bool(event.mask & inotify.ISDIR)
        if is_folder:
            self._paths.clear()
        if event.mask & inotify.MOVED_FROM:
            self._leaving[event.cookie] = _Leaving(path, is_folder, folder.take(event.name))
            if self._pair_timer is None:
                self._pair_timer = self._clock.callLater(RENAME_PAIR, self._left_alone)
        elif event.mask & inotify.MOVED_TO:
            self._arrived(folder, event, path, is_folder)
        elif event.mask & inotify.DELETE:
            self._drop(folder.take(event.name))
            self._listener.hint(Hint(path, What.GONE))
        elif not is_folder:
            for mask, what in _FILE_EVENTS:
                if event.mask & mask:
                    self._hint(Hint(path, what), folder, event.name)
        elif event.mask & inotify.CREATE:
            known = folder.children.get(event.name)
            if known is None:
                self._new_folder(folder, event.name)
            else:  # the listing of its parent was quicker
                self._new.append(known)
                self._place()

    def _arrived(self, folder: Folder, event: Event, path: RelPath, is_folder: bool) -> None:
        leaving = self._leaving.pop(event.cookie, None)
        if is_folder and (leaving is None or leaving.folder is None):
            self._new_folder(folder, event.name)
            if leaving is None:
                return  # hinted at when all below it is watched
        elif leaving is not None and leaving.folder is not None:
            leaving.folder.attach(folder, event.name)
            if self._placing is not None or self._pending:
                self._in_doubt = True  # watches below it may just be placed under its old name
        self._hint(Hint(path, What.MOVED_IN, None if leaving is None else leaving.path), folder, event.name)

    def _is_wanted(self, folder: Folder, component: bytes) -> bool:
        """Whether what is in the folder `component` of `folder` may be shared."""
        if not may_be_shared(component, self._rules):
            return False
        above = None if folder is self._tree.root else self._path(folder)
        if above is None and folder is not self._tree.root:
            return False
        try:
            return not self._ignored(child_path(above, component, self._rules), Kind.FOLDER)
        except BadPath:
            return False

    def _new_folder(self, folder: Folder, component: bytes) -> None:
        self._drop(folder.take(component))
        if not self._is_wanted(folder, component):
            return
        new = folder.add(component)
        self._pending.append(new)
        self._new.append(new)
        self._place()

    def _left_alone(self) -> None:
        """Tell of what was moved out of the share: the second half of the rename did not come."""
        self._pair_timer = None
        leaving, self._leaving = self._leaving, {}
        for gone in leaving.values():
            self._drop(gone.folder)
            self._listener.hint(Hint(gone.path, What.MOVED_AWAY))

    def _drop(self, folder: Folder | None) -> None:
        if folder is not None:
            for watch in self._tree.forget(folder):
                if self._notifier is not None:
                    self._notifier.remove(watch)

    def _hint(self, hint: Hint, folder: Folder, component: bytes) -> None:
        """Pass a hint on; for a name of another Unicode form only when it is known which name the path has."""
        if component.isascii() or self._names.component(hint.path) == component:
            self._listener.hint(hint)
            return
        learning = self._in_thread(learn_name, self._disk, self._names, hint.path, folder.name(), component)
        learning.addBoth(lambda _: self._listener.hint(hint))

    def _path(self, folder: Folder) -> RelPath | None:
        """Return the path of `folder`, which is not the root; None if it has none."""
        above: RelPath | None = None
        try:
            for component in folder.name():
                above = child_path(above, component, self._rules)
        except BadPath:
            return None
        return above

    def _path_in(self, folder: Folder, component: bytes) -> RelPath | None:
        """Return the path of what is called `component` in `folder`; None if it has none, and so is not shared."""
        key = (folder, component)
        if key not in self._paths:
            above = None if folder is self._tree.root else self._path(folder)
            path: RelPath | None = None
            if above is not None or folder is self._tree.root:
                with contextlib.suppress(BadPath):
                    path = child_path(above, component, self._rules)
            self._paths[key] = path
        return self._paths[key]
