"""What broke in a sender and receiver of one file (x4nth055/pythoncode-tutorials), and what a sender could do there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, ensureDeferred

from tests.transfer.files.serving import READ, ServingTestCase, in_line, name_of
from tests.transfer.files.test_downloads import tree
from tests.transfer.nodes import device
from twistedp2p.cli.fetching import Fetching
from twistedp2p.cli.moving import moving_on
from twistedp2p.cli.reaching import Session
from twistedp2p.errors import TwistedP2PError
from twistedp2p.transfer.files.client import FilesClient, Server
from twistedp2p.transfer.files.downloads import Taken
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.messages import FileEntry, ListFolder
from twistedp2p.transfer.files.offer import Offer
from twistedp2p.transfer.files.server import Access

LETTER = Random(1).randbytes(100_000)


@frozen
class Receiver(Session):
    """A session that needs no threads."""

    def in_thread(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Run it at once."""
        return in_line(work, *args, **kwargs)


class LyingOffer(Offer):
    """An offer whose listing says what `lie` makes of the truth."""

    lie: Callable[[FileEntry], FileEntry] = staticmethod(lambda entry: entry)

    async def listing(self, asked: ListFolder) -> AsyncIterator[Sequence[FileEntry]]:
        """List what is not so."""
        async for page in super().listing(asked):
            yield [self.lie(entry) for entry in page]


class SendingTests(ServingTestCase):
    """One file that is sent, and a folder."""

    def setUp(self) -> None:
        """Offer a file."""
        super().setUp()
        self.to = self.root.parent / "to"
        self.to.mkdir()
        self.offer = LyingOffer(self.hub.clock, in_line, bytes(32))
        self.offer.add(self.write("letter.txt", LETTER))
        self.folder = self.offer  # type: ignore[assignment]  # it stands where the folder stood
        self.factory = self.serve(Access(frozenset((name_of(READ),))))

    def receive(self, taken: Taken = Taken.RENAME) -> int:
        """Receive all that is offered, to the end; return the exit status."""
        return int(self.wait(self.receiving(taken)))

    def receiving(self, taken: Taken = Taken.RENAME) -> Deferred[int]:
        """Receive all that is offered into the folder `to`."""
        network = self.hub.network(device(2), "10.0.0.2")
        invite = self.invite(writable=False)
        client = FilesClient(network, Server.of(invite), name="me", entropy=bytes, random=Random(1))
        self.addCleanup(client.close)
        fetching = Fetching(
            Receiver(self.hub.clock, client), self.to, moving_on("received", as_json=False, quiet=True), taken=taken
        )
        self.addCleanup(fetching.disk.close)

        async def work() -> int:
            try:
                await fetching.add("", Priority.NORMAL)
                await fetching.finish()
            finally:
                fetching.close()
            return fetching.status

        return ensureDeferred(work())

    def test_name_and_data_in_one_segment(self) -> None:
        """There the size and the first bytes in one segment were a number that is none: a crash."""
        for segment in (0, 1000):
            self.hub.segment = segment
            (self.to / "letter.txt").unlink(missing_ok=True)
            self.assertEqual(self.receive(), 0)
            self.assertEqual(tree(self.to), {"letter.txt": LETTER})

    def test_a_size_that_is_not_so(self) -> None:
        """There what came was the file, whatever had been said of its size. Here it gets no name."""
        for size in (1, len(LETTER) - 1, len(LETTER) + 1, 3 * len(LETTER)):
            self.offer.lie = lambda entry, said=size: evolve(entry, size=said)  # type: ignore[misc]
            self.assertEqual(self.receive(), 1)
            self.assertNotIn("letter.txt", os.listdir(self.to))

    def test_nothing_is_replaced(self) -> None:
        """There a file of that name was replaced without a word. Here both are kept, unless it is asked for."""
        (self.to / "letter.txt").write_bytes(b"mine")
        self.assertEqual(self.receive(), 0)
        self.assertEqual(tree(self.to), {"letter.txt": b"mine", "letter (2).txt": LETTER})
        self.assertEqual(self.receive(Taken.OVERWRITE), 0)
        self.assertEqual((self.to / "letter.txt").read_bytes(), LETTER)

    def test_names_that_lead_out(self) -> None:
        """A sender says what its files are called. None of its names makes a file elsewhere, or one of ours."""
        above = self.root.parent
        before = sorted(os.listdir(above))
        for path in ("../evil", "a/../../evil", str(above / "evil"), ".twistedp2p/evil", "a//b", "", ".", "evil\0"):
            self.offer.lie = lambda entry, said=path: evolve(entry, path=said)  # type: ignore[misc]
            self.refusal(self.receiving(), TwistedP2PError)
            self.assertEqual((tree(self.to), sorted(os.listdir(above))), ({}, before), path)

    def test_a_link_in_the_way(self) -> None:
        """A link in the folder of the receiver is not followed."""
        elsewhere = self.root.parent / "elsewhere"
        elsewhere.mkdir()
        (self.to / "photos").symlink_to(elsewhere)
        self.offer.lie = lambda entry: evolve(entry, path=f"photos/{Path(entry.path).name}")
        self.assertEqual(self.receive(Taken.OVERWRITE), 1)
        self.assertEqual(os.listdir(elsewhere), [])
