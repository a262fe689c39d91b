"""What this peer needs and does not have: which content for which paths, and the fetches under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p.errors import TwistedP2PError
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.troubles import Trouble, trouble_of
from twistedp2p.peer.values import Want

__all__ = ["Fetching", "Wants"]


class Fetching(Protocol):
    """What is needed of the fetcher."""

    def want(
        self, content: bytes, size: int, manifest: bytes, *, holders: set[bytes], others: set[bytes], priority: int
    ) -> Deferred[None]:
        """Fetch this content; the result fires when it lies complete and verified in the parts folder."""

    def update_holders(self, content: bytes, holders: set[bytes], others: set[bytes]) -> None:
        """Tell who has a content that is being fetched."""

    def cancel(self, content: bytes) -> None:
        """Give up fetching this content."""


class Wants:
    """Keeps one fetch for each wanted content, whatever the number of paths that wait for it.

    `arrived` is called with the paths whose content is here now, `failed` with paths and what went wrong.
    """

    _log = Logger()

    def __init__(
        self,
        holdings: Holdings,
        arrived: Callable[[Iterable[str]], None],
        failed: Callable[[Iterable[str], Trouble], None],
    ) -> None:
        self.fetcher: Fetching | None = None
        self._holdings = holdings
        self._arrived = arrived
        self._failed = failed
        self._by_path: dict[str, tuple[Want, ...]] = {}
        self._paths: dict[bytes, set[str]] = {}
        self._fetching: dict[bytes, Deferred[None]] = {}

    def __len__(self) -> int:
        return len(self._by_path)

    def all(self) -> list[Want]:
        """Return every want, of every path."""
        return [want for wants in self._by_path.values() for want in wants]

    def paths_of(self, content: bytes) -> tuple[str, ...]:
        """Return the paths that wait for a content; any thread may ask."""
        return tuple(self._paths.get(content, ()))

    def of(self, path: str) -> tuple[Want, ...]:
        """Return what a path waits for."""
        return self._by_path.get(path, ())

    def replace(self, planned: Iterable[str], wants: Iterable[Want], held_up: Collection[str] = ()) -> None:
        """Take the result of planning: these paths were planned, and these are all their wants.

        For paths that are `held_up` nothing is asked for yet: they are planned again.
        """
        new: dict[str, list[Want]] = {}
        for want in wants:
            new.setdefault(want.path, []).append(want)
        dropped: set[bytes] = set()
        for path in planned:
            before = self._by_path.pop(path, ())
            for want in before:
                paths = self._paths.get(want.content, set())
                paths.discard(path)
                dropped.add(want.content)
            if path not in new:
                self._holdings.forget(path)
        for path, wanted in new.items():
            self._by_path[path] = tuple(wanted)
            for want in wanted:
                self._paths.setdefault(want.content, set()).add(path)
                dropped.discard(want.content)
                if path not in held_up:
                    self._fetch(want)
        for content in dropped:
            if not self._paths.get(content):
                self._paths.pop(content, None)
                self._cancel(content)

    def reoffer(self, paths: Iterable[str] | None = None) -> None:
        """Tell the fetcher who has the contents that these paths wait for; None: all of them."""
        if self.fetcher is None:
            return
        for path in list(self._by_path) if paths is None else paths:
            for want in self._by_path.get(path, ()):
                holders, others = self._holdings.sources(want)
                self.fetcher.update_holders(want.content, holders, others)

    def stop(self) -> None:
        """Give up every fetch."""
        for content in list(self._fetching):
            self._cancel(content)

    def _fetch(self, want: Want) -> None:
        if want.content in self._fetching or self.fetcher is None:
            return
        holders, others = self._holdings.sources(want)
        fetched = self.fetcher.want(
            want.content, want.size, want.manifest, holders=holders, others=others, priority=want.size
        )
        self._fetching[want.content] = fetched
        fetched.addCallbacks(self._done, self._broke, callbackArgs=(want.content,), errbackArgs=(want.content,))

    def _cancel(self, content: bytes) -> None:
        if self._fetching.pop(content, None) is not None and self.fetcher is not None:
            self.fetcher.cancel(content)

    def _done(self, _: None, content: bytes) -> None:
        self._fetching.pop(content, None)
        self._arrived(set(self._paths.get(content, ())))

    def _broke(self, failure: Failure, content: bytes) -> None:
        if failure.check(CancelledError):
            return
        self._fetching.pop(content, None)
        paths = set(self._paths.get(content, ()))
        if not failure.check(TwistedP2PError, OSError):
            self._log.failure("Fetching a content failed", failure=failure)
        self._failed(paths, trouble_of(failure.value, min(paths, default="")))
