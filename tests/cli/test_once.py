"""The whole way of what is sent once, in one process: any tree is offered, listed, agreed to, fetched and verified."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
import unicodedata
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_listing import Answering
from tests.transfer.files.serving import READ, SERVER, WHERE, ServingTestCase, in_line, name_of
from tests.transfer.nodes import device
from twistedp2p import limits
from twistedp2p.cli.agreed import Agreed
from twistedp2p.cli.proposal import Proposal
from twistedp2p.cli.reaching import Session
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import BadPath
from twistedp2p.identity.codes import Place
from twistedp2p.identity.device import pin_of
from twistedp2p.identity.share import ShareKeys
from twistedp2p.paths import from_disk
from twistedp2p.transfer.files.access import Access
from twistedp2p.transfer.files.client import FilesClient, Server
from twistedp2p.transfer.files.downloads import Downloads, Taken
from twistedp2p.transfer.files.offer import Offer

LETTERS = st.one_of(
    st.sampled_from("aA .-~*?\\:|\"'$&()[]{}\u0301\u00e9e\u212b\u200d\u202e\ufeff\U0001f600\u4e2d\ud7a3"),
    st.characters(codec="utf-8", exclude_characters="/\0"),
)
NAMES = st.text(LETTERS, min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
SIZES = st.one_of(st.integers(0, 300), st.sampled_from([limits.SMALL_FILE_BYTES, limits.SMALL_FILE_BYTES + 1]))
Tree = dict[str, "bytes | None"]


def write(root: Path, files: dict[tuple[str, ...], int]) -> Tree:
    """Write files of these sizes as far as one file system can have them; return what of them can travel."""
    expected: Tree = {}
    forms: dict[str, tuple[str, ...]] = {}
    for parts, size in files.items():
        above = [parts[:end] for end in range(1, len(parts) + 1)]
        formed = [unicodedata.normalize("NFC", "/".join(part)) for part in above]
        # Of two names that differ in their normal form alone one is left out; test_walk tells which.
        if any(forms.setdefault(form, part) != part for form, part in zip(formed, above, strict=True)):
            continue
        file = root.joinpath(*parts)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data := os.urandom(size))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        for form, part in zip(formed, above, strict=True):
            try:
                from_disk(tuple(name.encode() for name in part))
            except BadPath:
                break
            expected[form] = data if part == parts else None
    return expected


def read(root: Path) -> Tree:
    """Return what is below a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }


class OnceTests(ServingTestCase):
    """A sender and a receiver on a network in memory."""

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(PATHS, SIZES, max_size=8))
    def test_any_tree(self, files: dict[tuple[str, ...], int]) -> None:
        """Whatever its files are called, all of a folder arrives that can travel, and nothing else; and once more."""
        with tempfile.TemporaryDirectory(dir=self.root.parent) as base:
            top, to = Path(base) / "top", Path(base) / "to"
            top.mkdir()
            to.mkdir()
            expected = write(top, files)
            offer = Offer(self.hub.clock, in_line, bytes(32))
            self.addCleanup(setattr, self, "folder", self.folder)
            self.folder = offer  # type: ignore[assignment]  # it stands where the folder stood
            offer.add(top)
            self.serve(Access(frozenset((name_of(READ),))))
            for skipped in (0, len([data for data in expected.values() if data is not None])):
                downloads = self.received(to)
                self.assertEqual(read(to), {"top": None} | {f"top/{path}": data for path, data in expected.items()})
                self.assertEqual((downloads.totals.files_failed, downloads.totals.files_skipped), (0, skipped))

    def received(self, to: Path) -> Downloads:
        """Receive all that is offered, as the command does it."""
        client = FilesClient(
            self.hub.network(device(2), "10.0.0.2"),
            Server((Place(*WHERE),), ShareKeys.derive(READ, portable=False), pin_of(device(SERVER).spki)),
            name="me",
            entropy=bytes,
            random=Random(1),
        )
        disk = RealDisk(os.fsencode(to))
        downloads = Downloads(client, disk, in_line, taken=Taken.RENAME, as_listed=True)

        async def receive() -> None:
            session = Session(None, client)
            proposal = Proposal(client.source)
            async for entries in session.entries("", deep=True):
                proposal.add(entries, disk)
            proposal.agreed.end()
            async for entries in proposal.agreed.held_to(session.entries("", deep=True)):
                for entry in entries:
                    await downloads.add(entry, tuple(part.encode() for part in entry.path.split("/")))

        self.wait(ensureDeferred(receive()))
        finished: Deferred[None] = downloads.finish()
        self.wait(finished)
        client.close()
        self.hub.pump()
        disk.close()
        return downloads


class EndlessTests(SynchronousTestCase):
    """A sender that offers more names than anybody wants."""

    def test_very_many_names(self) -> None:
        """Of a list of 60,000 names a receiver holds some pages and its digests, both times that it is read."""

        def answer(after: str, most: int) -> list[str]:
            first = int(after.rpartition("-")[2]) + 1 if after else 0
            return [f"{'x' * 60}-{number:09}" for number in range(first, min(first + most, 60_000))]

        session = Session(None, Answering(answer))  # type: ignore[arg-type]  # it answers as a client does
        proposal = Proposal(b"server", Agreed())
        found = 0

        async def receive() -> None:
            nonlocal found
            async for entries in session.entries("", deep=True):
                proposal.add(entries, None)
            proposal.agreed.end()
            async for entries in proposal.agreed.held_to(session.entries("", deep=True)):
                found += len(entries)

        tracemalloc.start()
        try:
            self.successResultOf(ensureDeferred(receive()))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertEqual((proposal.files, found), (60_000, 60_000))
        self.assertLess(peak, 10_000_000)
