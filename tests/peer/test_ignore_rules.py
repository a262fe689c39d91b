"""Which paths are ignored: git's own answers, the limits, and patterns that are meant to take for ever."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.conftest import need_tool
from twistedp2p.limits import IGNORE_BYTES, IGNORE_FOLDERS, IGNORE_PATTERN_CHARS, IGNORE_PATTERNS
from twistedp2p.peer.ignore import DEFAULTS, IGNORE_NAME, Ignores, ListUnusable, parse_ignores
from twistedp2p.versions import Kind

PIECES = ("a", "b", "c", "a", "*", "?", "/", "**", "!", "[ab]", "[!a]", "[^b]", "[a-c]", " ", ".", "#", r"\#", "[]a]")
NAMES = ("a", "b", "ab", "c", "aab", "a b", "#a", ".a", "abc", "*", "]a", "!a")


def ignored(text: str, path: str, kind: Kind = Kind.FILE) -> bool:
    """Whether a list with this text ignores a path."""
    return parse_ignores(text.encode()).ignored(path, kind)


class PatternTests(SynchronousTestCase):
    """What patterns mean."""

    def check(self, text: str, yes: str, no: str) -> None:
        """Assert which paths a list ignores, and which it does not; one with a slash at its end is a folder."""
        ignores = parse_ignores(text.encode())
        for path in (yes + " " + no).split():
            kind = Kind.FOLDER if path.endswith("/") else Kind.FILE
            self.assertEqual(path in yes.split(), ignores.ignored(path.rstrip("/"), kind), path)

    def test_names(self) -> None:
        """A pattern without a slash matches at any depth, files and folders, and all that is in those."""
        self.check("*.log", "a.log d/a.log d/.log a.log/ a.log/x", "a.logs log d/log.a")

    def test_folders(self) -> None:
        """With a slash at the end only folders match."""
        self.check("build/", "build/ d/build/ build/x d/build/x/y", "build d/build builds/")

    def test_anchored(self) -> None:
        """With a slash elsewhere a pattern begins at the top."""
        self.check("/a\nd/b", "a a/x d/b d/b/x", "d/a x/d/b b")

    def test_double_star(self) -> None:
        """Two stars stand for any number of folders, at the end for all that is inside."""
        self.check("**/x\na/**/b\nc/**", "x d/x d/e/x a/b a/d/b a/d/e/b c/d c/d/e", "a b d/b c/ y")

    def test_negation(self) -> None:
        """The last pattern that matches decides; in an ignored folder nothing can be taken in again."""
        self.check("*.log\n!keep.log\nbuild/\n!build/x\n", "a.log build/x build/keep.log", "keep.log d/keep.log")

    def test_all_but(self) -> None:
        """The usual way to share one kind of file only works."""
        self.check("*\n!*/\n!*.txt", "a d/a", "a.txt d/ d/a.txt d/e/a.txt")

    def test_details(self) -> None:
        """Comments, escapes, spaces, line ends of Windows, a byte order mark, and composed names."""
        self.check("\ufeffone\r\n#two\n\\#three\n\\!four\nfive  \n", "one #three !four five", "two #two three")
        self.assertTrue(ignored("six\\ \n", "six "))
        self.assertTrue(ignored("cafe\u0301", "caf\u00e9"))

    def test_itself(self) -> None:
        """The list is never ignored at the top; elsewhere the name means nothing."""
        self.check(f"*\n{IGNORE_NAME}", f"x d/{IGNORE_NAME}", IGNORE_NAME)

    def test_deciding(self) -> None:
        """The pattern that decides is named with its line: of the folder above, if that is ignored."""
        ignores = parse_ignores(b"# list\nbuild/\n!*~\n")
        by = {path: ignores.deciding(path, Kind.FILE) for path in ("build/x/y", "x~", "x.swp", "x")}
        self.assertIsNone(by["x"])
        told = {path: (found.text, found.line, found.negated) for path, found in by.items() if found}
        self.assertEqual(
            {"build/x/y": ("build/", 2, False), "x~": ("!*~", 3, True), "x.swp": ("*.swp", 1, False)}, told
        )

    def test_many_folders(self) -> None:
        """What is remembered of folders is bounded, and right beyond that bound."""
        ignores = parse_ignores(b"odd/")
        for number in range(IGNORE_FOLDERS + 10):
            self.assertFalse(ignores.ignored(f"{number}/x", Kind.FILE))
        self.assertTrue(ignores.ignored("1/odd/x", Kind.FILE))


class DefaultTests(SynchronousTestCase):
    """The default list."""

    def test_defaults(self) -> None:
        """What programs leave beside files is ignored, ordinary names are not."""
        files = ".x.swp x~ .#x #x# .~lock.x.odt# ~$x.doc .DS_Store d/._x Thumbs.db desktop.ini x.part .fuse_hidden0001"
        for path in files.split():
            self.assertTrue(ignored("", path), path)
        for path in ("x", "x.txt", "part", ".x", "~x", "#x", "lost+found", ".gitignore", "4913"):
            self.assertFalse(ignored("", path), path)
        self.assertTrue(ignored("", ".Trash-1000/files/x"))

    def test_are_patterns(self) -> None:
        """Every default is a pattern, and says what it is for."""
        found = list(parse_ignores().patterns())
        self.assertEqual([(text, reason) for text, reason in DEFAULTS], [(one.text, one.default) for one in found])
        self.assertTrue(all(one.default for one in found))

    def test_taken_back(self) -> None:
        """The file comes after them, so that it can take in again."""
        self.assertFalse(ignored("!*.part", "x.part"))


class LimitTests(SynchronousTestCase):
    """A list comes from other members."""

    def test_size(self) -> None:
        """A text of the longest size is used, a longer one is not."""
        self.assertEqual((), parse_ignores(b"#" * IGNORE_BYTES).problems)
        self.assertRaises(ListUnusable, parse_ignores, b"#" * (IGNORE_BYTES + 1))

    def test_patterns(self) -> None:
        """So many patterns are used, one more is not; comments do not count."""
        lines = "".join(f"n{number}\n" for number in range(IGNORE_PATTERNS))
        self.assertTrue(ignored(lines + "# more\n\n", f"n{IGNORE_PATTERNS - 1}"))
        self.assertRaises(ListUnusable, parse_ignores, (lines + "x\n").encode())

    def test_length(self) -> None:
        """A line of the longest length is used, a longer one is left out and named."""
        self.assertEqual((), parse_ignores(b"x" * IGNORE_PATTERN_CHARS).problems)
        problem, = parse_ignores(b"x" * (IGNORE_PATTERN_CHARS + 1)).problems
        self.assertIn(str(IGNORE_PATTERN_CHARS), problem.reason)

    def test_bad_lines(self) -> None:
        """A line that is no pattern is left out and named; the others hold."""
        ignores = parse_ignores(b"good\n\xff\n[a\n//\nx\\\n[[:alpha:]]\na\0b\n[z-a]\n")
        self.assertEqual([2, 3, 4, 5, 6, 7, 8], [problem.line for problem in ignores.problems])
        self.assertTrue(ignores.ignored("good", Kind.FILE))
        self.assertTrue(all(problem.reason.endswith(".") for problem in ignores.problems))

    def test_hostile_patterns(self) -> None:
        """Patterns that make others try for ever are answered; this test would not end otherwise."""
        bad = ["*a" * 200 + "b", "?*" * 200 + "b", "**/a*/" * 60 + "b", "[a-z]*" * 80 + "0", "a*" * 250]
        ignores = parse_ignores("\n".join(bad).encode())
        self.assertEqual((), ignores.problems)
        self.assertFalse(ignores.ignored("a" * 200 + "c", Kind.FILE))
        self.assertFalse(ignores.ignored("/".join(["aa"] * 64), Kind.FILE))
        self.assertTrue(ignores.ignored("a" * 250, Kind.FILE))

    @given(st.binary(max_size=200), st.lists(st.sampled_from(NAMES), min_size=1, max_size=4))
    def test_anything(self, text: bytes, names: list[str]) -> None:
        """Any bytes make a list, and it answers about any path."""
        ignores = parse_ignores(text)
        path = "/".join(names)
        found = ignores.deciding(path, Kind.FILE)
        self.assertEqual(found is not None and not found.negated, ignores.ignored(path, Kind.FILE))

    @given(st.lists(st.sampled_from("ab*?"), min_size=1, max_size=8), st.text("ab", min_size=1, max_size=8))
    def test_globs(self, pattern: list[str], name: str) -> None:
        """A glob matches what it matches when every way is tried."""
        glob = "".join(pattern)
        self.assertEqual(_matches(glob, name), ignored("!*\n" + glob, name), (glob, name))


def _matches(glob: str, name: str) -> bool:
    """Whether a glob of stars, question marks and letters matches, by trying every way."""
    if not glob:
        return not name
    if glob[0] == "*":
        return any(_matches(glob[1:], name[cut:]) for cut in range(len(name) + 1))
    return bool(name) and glob[0] in ("?", name[0]) and _matches(glob[1:], name[1:])


class GitTests(SynchronousTestCase):
    """The same answers as `git check-ignore`."""

    def test_as_git(self) -> None:
        """Random lists and trees: what git ignores is ignored, and nothing else."""
        self.git = need_tool("git")
        rng = Random(20261)
        for _ in range(12):
            self.compare(rng)

    def compare(self, rng: Random) -> None:
        """Compare all answers about one tree with many lists."""
        with tempfile.TemporaryDirectory() as base:
            root = Path(base)
            env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
            subprocess.run([self.git, "init", "-q", base], check=True, env=env)
            paths = self.tree(rng, root)
            for _ in range(5):
                lines = ["".join(rng.choices(PIECES, k=rng.randint(1, 6))) for _ in range(rng.randint(1, 5))]
                text = "".join(f"{rng.choice(['', '', '!'])}{line}\n" for line in lines)
                ignores = parse_ignores(("!**\n" + text).encode())
                self.assertEqual(self.by_git(root, env, text, sorted(paths)), self.by_us(ignores, paths), text)

    def tree(self, rng: Random, root: Path) -> dict[str, Kind]:
        """Make a tree of folders and files."""
        for _ in range(25):
            path = root.joinpath(*rng.choices(NAMES, k=rng.randint(1, 4)))
            if not any(above.is_file() for above in (path, *path.parents)):
                path.mkdir(parents=True, exist_ok=True)
                if rng.random() < 0.7 and not any(path.iterdir()):
                    path.rmdir()
                    path.touch()
        found = (path for path in root.rglob("*") if ".git" not in path.relative_to(root).parts)
        return {str(path.relative_to(root)): Kind.FOLDER if path.is_dir() else Kind.FILE for path in found}

    def by_git(self, root: Path, env: dict[str, str], text: str, paths: list[str]) -> set[str]:
        """Return what git ignores of `paths`."""
        (root / ".git/info/exclude").write_text(text)
        command = [self.git, "-C", str(root), "check-ignore", "--no-index", "-z", "--stdin"]
        done = subprocess.run(command, input="\0".join(paths).encode(), capture_output=True, env=env)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return set(done.stdout.decode().split("\0")[:-1])

    def by_us(self, ignores: Ignores, paths: dict[str, Kind]) -> set[str]:
        """Return what we ignore of `paths`."""
        return {path for path, kind in paths.items() if ignores.ignored(path, kind)}
