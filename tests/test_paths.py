"""What is a usable name: containment, the state folder, limits, portable names, names of conflict copies."""

from __future__ import annotations

import ntpath
import os
import posixpath
import unicodedata
from pathlib import PureWindowsPath

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import BadPath
from twistedp2p.limits import CONFLICT_NAME_BYTES, PATH_BYTES, PATH_DEPTH
from twistedp2p.paths import NameRules, RelPath, conflict_name, from_disk

POSIX, PORTABLE = NameRules.POSIX, NameRules.PORTABLE

# Pieces of which hostile names are made: drawn far more often than chance would.
NASTY = st.sampled_from(
    [
        *("/", "//", "\\", "..", ".", "\0", "\n", " ", ":", "C:", "~1", "~", "CON", "nul", "COM1", "COM\u00b9", "LPT"),
        *(".twistedp2p", ".TWISTEDP2P", "twistedp2p", "tp2p~1", "TWISTE~1", "\u200c", "\u202e", "\ufeff", "\ufe0f"),
        *("\ud800", "e\u0301", "\u00e9", "\uff0f", "\u2024", "\uff0e", "\u2100", "a", "b.txt", "x" * 120, "\U0001f600"),
        *("?", "*", "|", "<", '"', "$", "\\\\srv\\share\\", "\\\\?\\", "\x7f", "\x85", "\u017f", "\u212a"),
    ]
)
HOSTILE = st.lists(st.one_of(NASTY, st.text(max_size=4)), max_size=8).map("".join)
# Trees deep and names long enough to reach the limits.
USUAL = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=90),
    min_size=1,
    max_size=8,
).map("/".join)
# Harmless but for one piece: about half of these pass even as portable.
NEARLY = st.tuples(
    st.from_regex(r"[a-z]{1,9}(/[a-zA-Z0-9 \u00e9.]{1,9}){0,3}", fullmatch=True), NASTY, st.text(max_size=3)
).map("".join)


def allowed(text: str, rules: NameRules) -> bool:
    """Return whether `rules` let `text` pass."""
    try:
        RelPath.parse(text, rules)
    except BadPath:
        return False
    return True


def reserved_on_windows(name: str) -> bool:
    """Return what Python itself thinks of `name` as a name on Windows."""
    if hasattr(ntpath, "isreserved"):
        return bool(ntpath.isreserved(name))
    return PureWindowsPath(name).is_reserved()


class ContainmentTests(SynchronousTestCase):
    """No name from the network resolves outside the folder."""

    @given(st.one_of(HOSTILE, USUAL, NEARLY))
    def test_posix(self, text: str) -> None:
        """Whatever passes is, for posixpath, a plain path below the folder that it is joined to."""
        if not allowed(text, POSIX):
            return
        joined = posixpath.normpath(posixpath.join("/srv/share", text))
        self.assertEqual(joined, "/srv/share/" + text)
        self.assertNotIn("\0", joined)
        self.assertEqual(os.fsencode(text), text.encode("utf-8"))

    @given(st.one_of(HOSTILE, USUAL, NEARLY))
    def test_portable(self, text: str) -> None:
        """Whatever passes as portable is, for ntpath too, a plain path below the folder, and no device."""
        if not allowed(text, PORTABLE):
            return
        self.assertTrue(allowed(text, POSIX))
        joined = ntpath.normpath(ntpath.join("D:\\share", text))
        self.assertEqual(joined, "D:\\share\\" + text.replace("/", "\\"))
        for name in text.split("/"):
            self.assertFalse(reserved_on_windows(name), name)
            self.assertEqual(name, name.rstrip(". "))

    @given(HOSTILE, st.sampled_from(NameRules))
    def test_only_bad_path_escapes(self, text: str, rules: NameRules) -> None:
        """A hostile name is refused by BadPath, with a sentence that is safe to print, or is kept as it is."""
        try:
            path = RelPath.parse(text, rules)
        except BadPath as error:
            sentence = str(error)
            self.assertTrue(sentence.endswith("."), sentence)
            self.assertTrue(sentence.isprintable(), sentence)
            self.assertLess(len(sentence), 1300)
        else:
            self.assertEqual(path.text, text)

    def test_historic_bad_names(self) -> None:
        """Names by which other programs were attacked are refused by both rules."""
        for text in [
            *("", "/", ".", "..", "../x", "a/..", "a/../b", "a/./b", "./a", "/etc/passwd", "a//b", "a/", "//a"),
            *("a\0", "a\0.txt", "\ud800", "a/\udcff", "e\u0301", "a/A\u030a"),
        ]:
            for rules in NameRules:
                with self.assertRaises(BadPath, msg=repr(text)):
                    RelPath.parse(text, rules)

    def test_names_that_only_windows_can_not_have(self) -> None:
        """Names that Windows would take for something else pass only where no Windows machine takes part."""
        for text in [
            *("CON", "con", "a/PRN", "AUX.txt", "NUL.tar.gz", "COM1", "COM0", "COM\u00b9", "LPT\u00b3.x", "lpt9 .x"),
            *("CONIN$", "conout$.x", "CLOCK$", "\uff23\uff2f\uff2e", "C\u200bON", "a.", "a ", "a. .", "x ./y"),
            *("a\\b", "\\a", "..\\x", "C:", "C:\\x", "C:x", "a:stream", "a?", "a*", "a|b", "a<b", "a>b", 'a"b'),
            *("a\nb", "a\rb", "\x01", "a\x1b[2J", "a\x7f", "a\x85b", "gpj.\u202eexe", "\u2066a", "\u200b", "a.\u200c"),
        ]:
            self.assertTrue(allowed(text, POSIX), repr(text))
            self.assertFalse(allowed(text, PORTABLE), repr(text))

    def test_ordinary_names(self) -> None:
        """Names that people really use pass both rules."""
        for text in [
            *("a", ".bashrc", "...a", "a b", " a", "Fotos/\u00dcbersicht.jpg", "\u65e5\u672c\u8a9e/\u3042.txt"),
            *("console", "com10", "a.con", "CONfig.txt", "r\u00e9sum\u00e9 (1).pdf", "\U0001f468\u200d\U0001f469.png"),
            *("tp2p~", "tp2p~x", "~1", "file~", "twisted~1", "\u2764\ufe0f", "\u0628\u200c\u0627", "-rf", "%00", "a'b"),
        ]:
            for rules in NameRules:
                self.assertEqual(RelPath.parse(text, rules).text, text)


class StateFolderTests(SynchronousTestCase):
    """The state folder of a share never travels."""

    def test_refused_however_written(self) -> None:
        """Case, width, invisible characters, dots, streams and short names do not hide the state folder."""
        for name in [
            *(".twistedp2p", ".TwistedP2P", ".TWISTEDP2P", ".twistedp2p.", ".twistedp2p ", ".twistedp2p. . "),
            *(".twisted\u200cp2p", "\ufeff.twistedp2p", ".twi\u017ftedp2p", "\uff0etwistedp2p", "\u2024twistedp2p"),
            *(".twistedp2p-trash", ".twistedp2p-Trash-2"),
            *(".twistedp2p\ufe0f", ".tw\u2170stedp2p", ".twistedp\uff12p"),
            *("tp2p~1", "TP2P~1", "tp2p~12", "TWISTE~1", "twiste~23", "TW0a3F~1", "tp2p~\uff11", "TWISTE~1."),
            *(".twistedp2p:x", ".twistedp2p::$INDEX_ALLOCATION", "TWISTE~1::$DATA"),
        ]:
            for text in (name, f"a/{name}", f"{name}/x", f"a/{name}/index"):
                for rules in NameRules:
                    self.assertFalse(allowed(unicodedata.normalize("NFC", text), rules), repr(text))

    def test_neighbours_pass(self) -> None:
        """The file of ignore patterns, and names that only begin alike, are shared."""
        shared = (".twistedp2pignore", "a/.twistedp2pignore", "twistedp2p", ".twistedp2p-old", ".twistedp2p-trashed")
        for text in (*shared, ".twistedp2p/x"[:9]):
            for rules in NameRules:
                self.assertTrue(allowed(text, rules), text)


class LimitTests(SynchronousTestCase):
    """Every limit, at its edge and past it."""

    def test_component(self) -> None:
        """A component has at most 255 bytes of UTF-8, or 240 where it is portable."""
        for rules, most in ((POSIX, 255), (PORTABLE, 240)):
            for unit in ("a", "~", "\u00e9", "\u20ac", "\U0001f600"):
                size = len(unit.encode())
                edge = unit * (most // size) + "b" * (most % size)
                self.assertTrue(allowed(edge, rules))
                self.assertTrue(allowed(f"d/{edge}/e", rules))
                self.assertFalse(allowed(edge + "b", rules))
                self.assertFalse(allowed(f"d/{edge}b/e", rules))

    def test_path(self) -> None:
        """A path has at most 1024 bytes, ASCII or not."""
        for first in ("a", "\u00e9"):
            text = first + "a" * (200 - len(first.encode())) + ("/" + "a" * 200) * 4
            edge = text + "/" + "a" * (PATH_BYTES - len(text.encode()) - 1)
            self.assertEqual(len(edge.encode()), PATH_BYTES)
            self.assertTrue(allowed(edge, POSIX))
            self.assertFalse(allowed(edge + "a", POSIX))

    def test_depth(self) -> None:
        """A path has at most 64 components, ASCII or not."""
        for name in ("a", "\u00e9"):
            self.assertTrue(allowed("/".join([name] * PATH_DEPTH), POSIX))
            self.assertFalse(allowed("/".join([name] * (PATH_DEPTH + 1)), POSIX))

    def test_huge(self) -> None:
        """A text of a whole frame is refused without being looked at closely or quoted in full."""
        with self.assertRaises(BadPath) as caught:
            RelPath("a/" * 30_000)
        self.assertLess(len(str(caught.exception)), 250)


class RelPathTests(SynchronousTestCase):
    """The parts of a path and its relations to others."""

    def test_parts(self) -> None:
        """A path knows its components, its name and the folders that it is in."""
        path = RelPath("a/b/c.txt")
        self.assertEqual(path.parts, ("a", "b", "c.txt"))
        self.assertEqual(path.name, "c.txt")
        self.assertEqual(path.parent, RelPath("a/b"))
        self.assertEqual(path.ancestors(), (RelPath("a/b"), RelPath("a")))
        self.assertIsNone(RelPath("a").parent)
        self.assertEqual(RelPath("a").ancestors(), ())

    def test_child(self) -> None:
        """A child is one component that the rules allow."""
        self.assertEqual(RelPath("a").child("b"), RelPath("a/b"))
        for name in ("..", "", "b/c", ".twistedp2p"):
            with self.assertRaises(BadPath):
                RelPath("a").child(name)
        self.assertEqual(RelPath("a").child("NUL"), RelPath("a/NUL"))
        with self.assertRaises(BadPath):
            RelPath("a").child("NUL", PORTABLE)

    def test_is_below(self) -> None:
        """Below means inside at any depth, and neither itself nor a name that begins alike."""
        folder = RelPath("a/b")
        self.assertTrue(RelPath("a/b/c/d").is_below(folder))
        for text in ("a/b", "a/bc", "a", "b/a/b/c"):
            self.assertFalse(RelPath(text).is_below(folder), text)

    @given(USUAL, USUAL)
    def test_order(self, one: str, two: str) -> None:
        """Paths are equal, hash and sort as the UTF-8 of their text does."""
        if not (allowed(one, POSIX) and allowed(two, POSIX)):
            return
        first, second = RelPath(one), RelPath(two)
        self.assertEqual(first < second, one.encode() < two.encode())
        self.assertEqual(first == second, one == two)
        self.assertEqual(hash(first), hash(RelPath(one)))

    def test_collision_key(self) -> None:
        """Names that some file system takes for one have one key, and no others."""
        for one, two in [
            *(("A/b", "a/B"), ("stra\u00dfe", "STRASSE"), ("\ufb01le", "file"), ("a\u200cb", "ab")),
            *(("\u00c9", "\u00e9"), ("\u01c5", "\u01c6"), ("x\ufe0f", "x")),
        ]:
            self.assertEqual(RelPath(one).collision_key, RelPath(two).collision_key, (one, two))
        for one, two in (("a", "b"), ("a/b", "a\uff0fb"), ("\u00e9", "e"), ("a/\u200b/b", "a/b"), ("a/c", "\u2100")):
            self.assertNotEqual(RelPath(one).collision_key, RelPath(two).collision_key, (one, two))


class FromDiskTests(SynchronousTestCase):
    """Names from the local disk."""

    def test_decomposed_names_travel_composed(self) -> None:
        """A name in normal form D becomes the path in normal form C."""
        self.assertEqual(from_disk([b"a", "e\u0301".encode()]), RelPath("a/\u00e9"))

    def test_refused(self) -> None:
        """What is not UTF-8, not one name, or against the rules stays on this machine."""
        for parts in ([b"\xff"], [b"a", b"\xed\xa0\x80"], [b"a/b"], [b".."], [b""], [], [b".twistedp2p"], [b"a\0"]):
            with self.assertRaises(BadPath, msg=repr(parts)):
                from_disk(parts)
        self.assertEqual(from_disk([b"a\nb"]), RelPath("a\nb"))
        with self.assertRaises(BadPath):
            from_disk([b"a\nb"], PORTABLE)

    @given(USUAL)
    def test_round_trip(self, text: str) -> None:
        """A path that was written to disk under its own name is read back as the same path."""
        if not allowed(text, POSIX):
            return
        self.assertEqual(from_disk([os.fsencode(name) for name in text.split("/")]), RelPath(text))


class ConflictNameTests(SynchronousTestCase):
    """The names of conflict copies, which all peers must agree on."""

    AUTHOR = bytes(range(8))
    CONTENT = bytes(range(32))

    def name(self, text: str, mtime_ns: int = 1_700_000_000_000_000_000, digest_chars: int = 8) -> str:
        """Return the text of the conflict name of `text`."""
        return conflict_name(
            RelPath(text), mtime_ns=mtime_ns, author=self.AUTHOR, content_id=self.CONTENT, digest_chars=digest_chars
        ).text

    def test_vectors(self) -> None:
        """These names never change: peers of different versions resolve a conflict to the same copy."""
        mark = " (conflict 2023-11-14 aaaqea 00010203)"
        for text, expected in {
            "a.txt": f"a{mark}.txt",
            "d/e/a.txt": f"d/e/a{mark}.txt",
            "a": f"a{mark}",
            ".bashrc": f".bashrc{mark}",
            ".a.b": f".a{mark}.b",
            "x.tar.gz": f"x.tar{mark}.gz",
            "Mr. Smith": f"Mr. Smith{mark}",
            "a.123456789012345": f"a{mark}.123456789012345",
            "a.1234567890123456": f"a.1234567890123456{mark}",
            f"a{mark}.txt": f"a{mark}{mark}.txt",
            "\u00e9" * 127: "\u00e9" * 101 + mark,
            "x" * 250 + ".\u00e9\u00e9": "x" * 197 + mark + ".\u00e9\u00e9",
            "x" * 250 + ".jpeg": "x" * 197 + mark + ".jpeg",
        }.items():
            self.assertEqual(self.name(text), expected)

    def test_day(self) -> None:
        """The day is that of the time in UTC, kept within the years 1970 to 9999."""
        day = 86_400 * 10**9
        for mtime_ns, expected in {
            0: "1970-01-01",
            day - 1: "1970-01-01",
            day: "1970-01-02",
            -1: "1970-01-01",
            -(2**63): "1970-01-01",
            253_402_300_799 * 10**9: "9999-12-31",
            253_402_300_800 * 10**9: "9999-12-31",
            2**80: "9999-12-31",
        }.items():
            self.assertEqual(self.name("a", mtime_ns), f"a (conflict {expected} aaaqea 00010203)")

    def test_longer_hash(self) -> None:
        """More of the hash is shown on demand, for two contents that begin alike."""
        self.assertEqual(self.name("a", 0, digest_chars=12), "a (conflict 1970-01-01 aaaqea 000102030405)")

    def test_no_room_in_the_folder(self) -> None:
        """Where a folder's path leaves no room for the name, the copy goes into the nearest one above."""
        mark = " (conflict 2023-11-14 aaaqea 00010203)"
        above = "/".join(["d" * 200] * 4)
        for room, expected in ((4, "abc"), (3, "abc"), (2, "ab"), (1, "a")):
            folder = above + "/" + "e" * (PATH_BYTES - len(above) - 2 - len(mark) - room)
            self.assertEqual(self.name(f"{folder}/abc"), f"{folder}/{expected}{mark}")
        for room in (0, -5):
            folder = above + "/" + "e" * (PATH_BYTES - len(above) - 2 - len(mark) - room)
            self.assertEqual(self.name(f"{folder}/abc"), f"{above}/abc{mark}")

    @given(
        st.one_of(HOSTILE, USUAL, NEARLY, st.integers(1, 24).map(lambda n: ("d" * 99 + "/") * 10 + "x" * n)),
        st.integers(-(2**70), 2**70),
        st.binary(min_size=8, max_size=8),
        st.binary(min_size=32, max_size=32),
        st.sampled_from([8, 16, 64]),
    )
    def test_valid(self, text: str, mtime_ns: int, author: bytes, content: bytes, digest_chars: int) -> None:
        """The name is valid wherever the path was, short enough for every disk, and of another path."""
        if not allowed(text, POSIX):
            return
        path = RelPath(text)
        copy = conflict_name(path, mtime_ns=mtime_ns, author=author, content_id=content, digest_chars=digest_chars)
        self.assertNotEqual(copy, path)
        self.assertTrue(allowed(copy.text, POSIX))
        self.assertLessEqual(len(copy.name.encode()), CONFLICT_NAME_BYTES)
        self.assertLessEqual(len(copy.name.encode("utf-16-le")) // 2, CONFLICT_NAME_BYTES)
        self.assertTrue(allowed(copy.text, PORTABLE) or not allowed(text, PORTABLE))
        self.assertTrue(copy.parent is None or copy.parent in path.ancestors())
