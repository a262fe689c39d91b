"""What is offered to be sent: files and folders under their own names, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred

from tests.transfer.files.serving import READ, ServingTestCase, in_line, name_of
from twistedp2p.errors import BadPath, FileChanged, NoSuchFile
from twistedp2p.transfer.files.messages import FileEntry, ListFolder
from twistedp2p.transfer.files.offer import Offer
from twistedp2p.transfer.files.server import Access
from twistedp2p.transfer.files.source import SmallFile
from twistedp2p.transfer.hashing import content_id_of


class OfferTests(ServingTestCase):
    """An offer of a file and a folder, fetched over a connection."""

    def setUp(self) -> None:
        """Offer a file and a folder of the disk."""
        super().setUp()
        for path in ("here/file.txt", "here/secret.txt", "there/folder/deep/one", "there/folder/two", "there/other"):
            self.write(path, path.encode())
        self.received: list[tuple[int, int, bool]] = []
        self.troubles: list[str] = []
        self.offer = Offer(
            self.hub.clock, in_line, bytes(32), lambda *said: self.received.append(said), self.troubles.append
        )
        self.assertEqual(self.offer.add(self.root / "here/file.txt"), "file.txt")
        self.assertEqual(self.offer.add(self.root / "there/folder"), "folder")
        self.folder = self.offer  # type: ignore[assignment]  # it stands where the folder stood
        self.factory = self.serve(Access(frozenset((name_of(READ),))))
        self.it = self.client(READ)

    def paths(self, path: str = "", **options: Any) -> list[str]:
        """Return the paths that are listed."""
        return [entry.path for entry in self.listing(self.it, path, **options)]

    def test_listing(self) -> None:
        """The names at the top are those of what is offered, whatever lies beside it on the disk."""
        self.assertEqual(self.paths(), ["file.txt", "folder"])
        everything = ["file.txt", "folder", "folder/deep", "folder/deep/one", "folder/two"]
        self.assertEqual(self.paths(deep=True), everything)
        self.assertEqual(self.paths("folder"), ["folder/deep", "folder/two"])
        self.assertEqual(self.paths("folder/deep"), ["folder/deep/one"])
        self.assertEqual(self.paths("file.txt"), ["file.txt"])
        self.assertEqual(self.paths(deep=True, pattern="o*"), ["folder/deep/one"])
        for number, path in enumerate(everything):
            self.assertEqual(self.paths(deep=True, after=path), everything[number + 1 :], path)

    def test_nothing_else(self) -> None:
        """What lies beside a file that is offered can not be listed or read, whatever it is called."""
        for path in ("secret.txt", "file.txt/x", "other", "here/file.txt", "folder/nothing"):
            self.refusal(self.it.listing(path, lambda _: None), NoSuchFile)
            self.refusal(self.it.read_range(path, bytes(16), 0, 1, lambda *_: None), NoSuchFile)
            self.refusal(self.it.content_of(path, bytes(16)), NoSuchFile)
            heard: dict[int, object] = {}
            self.wait(self.it.read_files([(path, bytes(16))], heard.__setitem__))
            self.assertIsInstance(heard[0], NoSuchFile)
        self.refusal(self.it.listing("../secret.txt", lambda _: None), BadPath)

    def test_reading(self) -> None:
        """Everything that is offered can be read, in one piece, by ranges, and by its hash."""
        entries = [entry for entry in self.listing(self.it, deep=True) if not entry.folder]
        heard: dict[int, Any] = {}
        self.wait(self.it.read_files([(entry.path, entry.token) for entry in entries], heard.__setitem__))
        wanted = [b"here/file.txt", b"there/folder/deep/one", b"there/folder/two"]
        self.assertEqual([heard[number].data for number in range(3)], wanted)
        for entry, data in zip(entries, wanted, strict=True):
            self.assertEqual(self.wait(self.it.content_of(entry.path, entry.token)), content_id_of(data))
            pieces: dict[int, bytes | memoryview] = {}
            self.wait(self.it.read_range(entry.path, entry.token, 0, len(data), pieces.__setitem__))
            self.assertEqual(pieces, {0: data})

    def test_a_changed_file(self) -> None:
        """A file that changed since it was listed is not sent as if it had not."""
        token = self.token(self.it, "file.txt")
        self.write("here/file.txt", b"something else")
        self.refusal(self.it.read_range("file.txt", token, 0, 1, lambda *_: None), FileChanged)

    def test_the_sender_hears_what_can_not_be_sent(self) -> None:
        """A file that changed, that went or that may not be read is told to the sender, once, by name."""
        entries = [entry for entry in self.listing(self.it, deep=True) if not entry.folder]
        asked = [(entry.path, entry.token) for entry in entries]
        self.write("here/file.txt", b"something else")
        (self.root / "there/folder/deep/one").unlink()
        for _ in range(3):
            heard: dict[int, object] = {}
            self.wait(self.it.read_files(asked, heard.__setitem__))
            self.assertEqual([type(heard[at]) for at in range(3)], [FileChanged, NoSuchFile, SmallFile])
            self.refusal(self.it.read_range(*asked[0], 0, 1, lambda *_: None), FileChanged)
            self.refusal(self.it.content_of(*asked[1]), NoSuchFile)
        sentences = [
            "file.txt changed after it was listed, and was not sent as it is now.",
            "folder/deep/one is gone, and can not be sent any more.",
        ]
        self.assertEqual(self.troubles, sentences)

    def test_trouble_is_bounded(self) -> None:
        """Whoever asks for many things that are not there does not fill the sender's terminal."""
        for number in range(100):
            self.refusal(self.it.content_of(f"folder/{number}", bytes(16)), NoSuchFile)
        self.assertEqual(len(self.troubles), 20)
        self.assertTrue(self.troubles[-1].endswith("There is more; it is not named here."))
        self.assertFalse(self.troubles[-2].endswith("There is more; it is not named here."))

    def test_something_at_the_top_goes(self) -> None:
        """When a file or a folder at the top is gone the rest is listed, then both sides hear what is missing."""
        (self.root / "here/file.txt").unlink()
        found: list[FileEntry] = []
        said = self.refusal(self.it.listing("", found.extend, deep=True), NoSuchFile)
        self.assertEqual([entry.path for entry in found], ["folder", "folder/deep", "folder/deep/one", "folder/two"])
        self.assertEqual(said, "The sender has file.txt no more; ask for a new code for that.")
        os.rename(self.root / "there/folder", self.root / "elsewhere")
        found.clear()
        said = self.refusal(self.it.listing("", found.extend, deep=True), NoSuchFile)
        self.assertEqual(found, [])
        self.assertEqual(said, "The sender has file.txt, folder no more; ask for a new code for that.")
        gone = "is gone, and can not be sent any more."
        self.assertEqual(self.troubles, [f"file.txt {gone}", f"folder {gone}"])

    def test_what_is_gone_is_said_however_it_is_listed(self) -> None:
        """A listing in pieces, and one that goes on after a name, end in the same way."""
        (self.root / "here/file.txt").unlink()
        found: list[FileEntry] = []
        self.wait(self.it.listing("", found.extend, deep=True, most=4))
        self.assertEqual(len(found), 4)
        self.refusal(self.it.listing("", found.extend, deep=True, most=4, after="folder/two"), NoSuchFile)
        self.refusal(self.client(READ).listing("", found.extend, deep=True, after="folder/two"), NoSuchFile)
        self.assertEqual(len(found), 4)

    def test_something_else_has_the_name(self) -> None:
        """A folder where the file was, or another folder of that name, is not what was offered."""
        (self.root / "here/file.txt").unlink()
        (self.root / "here/file.txt").mkdir()
        os.rename(self.root / "there/folder", self.root / "there/before")
        (self.root / "there/folder").mkdir()
        found: list[FileEntry] = []
        self.refusal(self.it.listing("", found.extend, deep=True), NoSuchFile)
        self.assertEqual(found, [])

    def test_many_files_of_one_folder(self) -> None:
        """However many files of a folder are offered, that folder is opened once."""
        for number in range(300):
            self.write(f"many/{number}", b"%d" % number)
            self.offer.add(self.root / f"many/{number}")
        self.assertEqual(len({id(top.disk) for top in self.offer._tops.values()}), 3)
        self.assertEqual(len(self.paths()), 302)

    def test_what_was_received(self) -> None:
        """What the receiver says that it has is told to the sender."""
        self.wait(self.it.received(3, 100))
        self.wait(self.it.received(0, 0, accepted=False))
        self.assertEqual(self.received, [(3, 100, True), (0, 0, False)])

    def test_what_can_not_be_offered(self) -> None:
        """Two of one name, nothing, a link and a pipe are refused with a sentence."""
        offer = Offer(self.hub.clock, in_line, bytes(32))
        offer.add(self.root / "here/file.txt")
        self.write("elsewhere/file.txt")
        self.assertRaises(BadPath, offer.add, self.root / "elsewhere/file.txt")
        self.assertRaises(NoSuchFile, offer.add, self.root / "nothing")
        (self.root / "link").symlink_to("here")
        self.assertRaises(NoSuchFile, offer.add, self.root / "link")
        os.mkfifo(self.root / "pipe")
        self.assertRaises(NoSuchFile, offer.add, self.root / "pipe")
        self.assertRaises(BadPath, offer.add, Path("/"))

    def test_an_empty_offer(self) -> None:
        """An offer of an empty folder has that folder and nothing in it."""
        (self.root / "empty").mkdir()
        offer = Offer(self.hub.clock, in_line, bytes(32))
        offer.add(self.root / "empty")

        async def listed() -> list[str]:
            return [entry.path async for page in offer.listing(ListFolder(0, deep=True)) for entry in page]

        self.assertEqual(self.successResultOf(ensureDeferred(listed())), ["empty"])
