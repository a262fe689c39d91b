"""What a command takes of a listing: pages that rise, of what it asked for, and no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.reaching import Session
from twistedp2p.errors import BadPath, NoSuchFile, ProtocolViolation, TwistedP2PError
from twistedp2p.transfer.files.client import FilesClient
from twistedp2p.transfer.files.messages import FileEntry


class Answering:
    """A client and its connection in one, whose server answers each question for a listing as the test says."""

    def __init__(self, answer: Callable[[str, int], Sequence[str]], end: TwistedP2PError | None = None) -> None:
        self.asked: list[str] = []
        self._answer = answer
        self._end = end

    def connected(self) -> Deferred[Any]:
        """See `FilesClient`."""
        return succeed(self)

    def listing(self, path: str, sink: Callable[[Sequence[FileEntry]], object], **options: Any) -> Deferred[None]:
        """See `FilesConnection`."""
        self.asked.append(options["after"])
        sink([FileEntry(name, False) for name in self._answer(options["after"], options["most"])])
        return succeed(None) if self._end is None else fail(self._end)


class ListingTests(SynchronousTestCase):
    """`Session.entries`, with servers that list what they like."""

    def listed(self, server: Answering, path: str = "", error: type[TwistedP2PError] | None = None) -> list[str]:
        """Return the paths that a listing gives before it ends, or ends with `error`."""
        found: list[str] = []

        async def read() -> None:
            async for entries in Session(None, cast(FilesClient, server)).entries(path, deep=True):
                found.extend(entry.path for entry in entries)

        reading = ensureDeferred(read())
        if error is None:
            self.successResultOf(reading)
        else:
            self.failureResultOf(reading, error)
        return found

    def test_page_by_page(self) -> None:
        """A long listing is asked for piece by piece, each after the last name of the one before."""
        names = [f"{number:06}" for number in range(12_000)]
        server = Answering(lambda after, most: [name for name in names if name > after][:most])
        self.assertEqual(self.listed(server), names)
        self.assertEqual(server.asked, ["", "004999", "009999"])

    def test_a_listing_that_repeats_itself(self) -> None:
        """A server that gives the same names again, however it is asked, is refused at the first of them."""
        server = Answering(lambda after, most: [f"{number:06}" for number in range(most)])
        self.assertEqual(len(self.listed(server, error=ProtocolViolation)), 5000)
        self.assertEqual(len(server.asked), 2)

    def test_paths_must_rise(self) -> None:
        """Paths rise by their components, by the bytes of each; what comes twice, or too late, is refused."""
        for good in (["a", "a/b", "a.txt"], ["a/z", "a b"], ["Z", "a", "\u00e4"], ["a", "a/a", "a/a/a", "a/b", "b"]):
            self.assertEqual(self.listed(Answering(lambda *_, good=good: good)), good)
        for bad in (["a", "a"], ["b", "a"], ["a.txt", "a/b"], ["a/b", "a"], ["a", "a/b", "a"]):
            self.listed(Answering(lambda *_, bad=bad: bad), error=ProtocolViolation)

    def test_what_was_not_asked_for(self) -> None:
        """What lies outside of the folder that was asked for is refused, and a path that climbs."""
        for bad in ("other", "foldering", "fold"):
            self.listed(Answering(lambda *_, bad=bad: [bad]), "folder", ProtocolViolation)
        for bad in ("../x", "/etc/passwd", "a//b", "."):
            self.listed(Answering(lambda *_, bad=bad: [bad]), error=BadPath)

    def test_what_is_missing_comes_last(self) -> None:
        """When the server says at the end that something is missing, all that it listed is given out before."""
        server = Answering(lambda *_: ["a", "b"], NoSuchFile("There is no c any more."))
        self.assertEqual(self.listed(server, error=NoSuchFile), ["a", "b"])
