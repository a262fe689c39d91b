"""Looking at the whole folder: what is there, what is not shared and why, and what the look can not speak of."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.peer.folder.shared import FolderTestCase
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import FolderUnusable
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.folder.names import DiskNames, signature_of
from twistedp2p.peer.folder.scan import Found, Scan, listing
from twistedp2p.peer.troubles import Code
from twistedp2p.versions import Kind

DECOMPOSED, COMPOSED = "e\u0301", "\u00e9"


def paths(found: Sequence[Found]) -> list[str]:
    """Return the paths of what was found."""
    return [one.path.text for one in found]


class NamesTests(FolderTestCase):
    """Which name on the disk a path has."""

    @given(st.lists(st.sampled_from([DECOMPOSED, COMPOSED, "a"]), min_size=1, max_size=5))
    def test_what_was_learned_is_found_again(self, components: list[str]) -> None:
        """Whatever form each folder on the way has, the disk's name of the path is the one learned."""
        names = DiskNames()
        path = None
        for component in components:
            composed = unicodedata.normalize("NFC", component)
            path = RelPath(composed) if path is None else path.child(composed)
            names.learn(path, component.encode())
        assert path is not None
        self.assertEqual(names.of(path), tuple(component.encode() for component in components))

    def test_a_name_is_learned_anew(self) -> None:
        """A name that came back in normal form is forgotten as a different one."""
        names = DiskNames()
        names.learn(RelPath(COMPOSED), DECOMPOSED.encode())
        names.learn(RelPath(COMPOSED), COMPOSED.encode())
        self.assertEqual(names.of(RelPath(COMPOSED)), (COMPOSED.encode(),))


class ScanTests(FolderTestCase):
    """The full walk."""

    def scan(self, **kwargs: object) -> tuple[Scan, list[Found]]:
        """Return a scan that was carried out, and what it found."""
        scan = Scan(self.disk, self.names, **kwargs)  # type: ignore[arg-type]
        return scan, [one for piece in scan.slices(3) for one in piece]

    def test_finds_everything_parents_first(self) -> None:
        """Files and folders come with their signatures, each folder before what is in it; the state folder never."""
        for path in ("a/b/c", "a/d", "e", "f g/h\ni"):
            self.save(path)
        (self.root / "empty").mkdir()
        scan, found = self.scan()
        self.assertEqual(sorted(paths(found)), ["a", "a/b", "a/b/c", "a/d", "e", "empty", "f g", "f g/h\ni"])
        for one in found:
            self.assertTrue(one.path.parent is None or paths(found).index(one.path.parent.text) < found.index(one))
            self.assertEqual(one.signature, signature_of(self.disk.stat(self.names.of(one.path))))
        self.assertEqual({one.path.text for one in found if one.kind is Kind.FOLDER}, {"a", "a/b", "empty", "f g"})
        self.assertEqual((scan.hidden, scan.unlisted), ([], set()))

    def test_comes_in_slices(self) -> None:
        """No slice is longer than asked for, so that other work comes in between."""
        for number in range(10):
            self.save(f"{number}")
        sizes = [len(piece) for piece in Scan(self.disk, self.names).slices(4)]
        self.assertEqual(sizes, [4, 4, 2])

    def test_state_folders_are_skipped_at_any_depth(self) -> None:
        """Another share's state, also in another case, is never found, nor anything below it."""
        self.save("other/.twistedp2p/secret")
        self.save("other/.TwistedP2P/secret")
        self.assertEqual(paths(self.scan()[1]), ["other"])

    def test_what_can_not_be_shared_says_why(self) -> None:
        """Links, pipes and names that are no UTF-8 are listed with a reason; what has a path is not absent."""
        (self.root / "link").symlink_to("/")
        os.mkfifo(self.root / "pipe")
        os.mkdir(os.fsencode(self.root) + b"/\xff")
        self.save("fine")
        scan, found = self.scan()
        self.assertEqual(paths(found), ["fine"])
        self.assertEqual({hidden.name for hidden in scan.hidden}, {(b"link",), (b"pipe",), (b"\xff",)})
        self.assertTrue(all(hidden.reason.endswith(".") for hidden in scan.hidden))
        self.assertEqual(scan.unlisted, {RelPath("link"), RelPath("pipe")})
        self.assertEqual([scan.covers(RelPath(path)) for path in ("gone", "link", "link/x")], [True, False, False])

    def test_the_rules_of_the_share_decide(self) -> None:
        """A name that Windows can not store stays local in a portable share only."""
        self.save("a:b")
        self.assertEqual(paths(self.scan()[1]), ["a:b"])
        scan, found = self.scan(rules=NameRules.PORTABLE)
        self.assertEqual((found, len(scan.hidden)), ([], 1))

    def test_ignored_paths_are_not_absent(self) -> None:
        """An ignored folder is not entered, and nothing in it counts as deleted."""
        self.save("node_modules/x")
        self.save("kept")
        scan, found = self.scan(ignored=lambda path, kind: kind is Kind.FOLDER and path.name == "node_modules")
        self.assertEqual(paths(found), ["kept"])
        self.assertFalse(scan.covers(RelPath("node_modules/x")))

    def test_another_device_is_not_crossed(self) -> None:
        """A mounted file system is named as one, not entered, and nothing below it counts as absent."""
        disk = RealDisk(b"/")
        self.addCleanup(disk.close)
        listed = listing(disk, DiskNames(), None)
        (proc,) = [hidden for hidden in listed.hidden if hidden.name == (b"proc",)]
        self.assertIn("mounted", proc.reason)
        self.assertEqual(proc.path, RelPath("proc"))

    def test_a_folder_that_can_not_be_listed_hides_what_is_in_it(self) -> None:
        """A failing folder is reported, and nothing in it counts as absent; the others are found."""
        # As a disk that fails: permissions do not bind the user that tests may run as.
        self.save("bad/f")
        self.save("good/f")
        self.disk.failing["entries", (b"bad",)] = PermissionError(13, "Permission denied")
        scan, found = self.scan()
        self.assertEqual(sorted(paths(found)), ["bad", "good", "good/f"])
        (hidden,) = scan.hidden
        assert hidden.trouble is not None
        self.assertEqual((hidden.trouble.code, hidden.reason), (Code.UNREADABLE, hidden.trouble.text))
        self.assertFalse(scan.covers(RelPath("bad/f")))
        self.assertTrue(scan.covers(RelPath("good/g")))

    def test_a_top_that_can_not_be_listed_is_an_error(self) -> None:
        """If the shared folder itself fails, nothing is said of what is in it."""
        self.disk.failing["entries", ()] = OSError(5, "Input/output error")
        self.assertRaises(FolderUnusable, self.scan)

    def test_a_folder_removed_meanwhile_is_not_spoken_of(self) -> None:
        """What vanishes during the walk is left for the next one."""
        self.save("a/f")
        walk = Scan(self.disk, self.names)
        pieces = walk.slices(1)
        next(pieces)
        (self.root / "a/f").unlink()
        (self.root / "a").rmdir()
        self.assertEqual(list(pieces), [])
        self.assertFalse(walk.covers(RelPath("a/f")))

    def test_a_part_of_the_folder(self) -> None:
        """A walk from a start finds what is below, and speaks of nothing else."""
        self.save("a/b/c")
        self.save("d")
        scan, found = self.scan(start=RelPath("a"))
        self.assertEqual(paths(found), ["a/b", "a/b/c"])
        self.assertEqual([scan.covers(RelPath(path)) for path in ("a/x", "x")], [True, False])

    def test_a_decomposed_name_travels_composed(self) -> None:
        """The path is in normal form C, and leads back to the name that the disk has."""
        self.save(f"{DECOMPOSED}/{DECOMPOSED}")
        found = self.scan()[1]
        self.assertEqual(paths(found), [COMPOSED, f"{COMPOSED}/{COMPOSED}"])
        self.assertEqual(self.names.of(found[1].path), (DECOMPOSED.encode(), DECOMPOSED.encode()))

    def test_of_two_forms_of_a_name_one_is_shared(self) -> None:
        """The composed name has the path, unless the other had it before; the second is reported."""
        self.save(DECOMPOSED, b"1")
        self.save(COMPOSED, b"22")
        scan, found = self.scan()
        self.assertEqual([(one.path.text, one.signature.size) for one in found], [(COMPOSED, 2)])
        self.assertEqual([hidden.name for hidden in scan.hidden], [(DECOMPOSED.encode(),)])
        self.names.learn(RelPath(COMPOSED), DECOMPOSED.encode())
        scan, found = self.scan()
        self.assertEqual([(one.path.text, one.signature.size) for one in found], [(COMPOSED, 1)])
        self.assertEqual([hidden.name for hidden in scan.hidden], [(COMPOSED.encode(),)])

    def test_a_listing_is_complete_or_an_error(self) -> None:
        """One folder is listed in full; one that is not there is an error, not an empty folder."""
        self.save("a/f")
        self.assertEqual(paths(listing(self.disk, self.names, RelPath("a")).found), ["a/f"])
        self.assertRaises(FileNotFoundError, listing, self.disk, self.names, RelPath("b"))
