"""What is not shared by choice: the default list, and the patterns of `.twistedp2pignore` after it. Pure.

The patterns are those of gitignore, read by `pathspec`. The last one that matches a path decides; an ignored folder
ignores all that is in it, and nothing in there can be taken in again. A file comes from other members, so its size and
the number and length of its patterns are limited, and no pattern takes longer than a path is long times itself:
each name is matched by itself, from the left, without ever going back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from attrs import frozen
from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from twistedp2p.errors import TwistedP2PError
from twistedp2p.limits import IGNORE_BYTES, IGNORE_FOLDERS, IGNORE_PATTERN_CHARS, IGNORE_PATTERNS
from twistedp2p.paths import RelPath
from twistedp2p.versions import Kind

__all__ = ["DEFAULTS", "IGNORE_NAME", "Ignores", "ListUnusable", "Pattern", "Problem", "parse_ignores"]

IGNORE_NAME = ".twistedp2pignore"
"""The file at the top of a share that says what is not shared; it is shared itself, whatever it says."""

DEFAULTS: tuple[tuple[str, str], ...] = (
    ("*.swp", "Vim, an open file"),
    ("*.swo", "Vim, an open file"),
    ("*.swx", "Vim, an open file"),
    (".*.kate-swp", "Kate, an open file"),
    ("*~", "editors, the version before the last save"),
    (".#*", "Emacs, an open file"),
    (r"\#*#", "Emacs, what is not saved yet"),
    (".~lock.*#", "LibreOffice, an open file"),
    ("~$*", "Microsoft Office, an open file"),
    (".goutputstream-*", "GNOME, a save under way"),
    ("*.part", "Firefox and KDE, a download under way"),
    ("*.crdownload", "Chromium, a download under way"),
    (".DS_Store", "macOS, how a folder is shown"),
    ("._*", "macOS, what other disks can not store beside a file"),
    (".AppleDouble/", "macOS, the same on file servers"),
    (".Spotlight-V100/", "macOS, its search index"),
    (".fseventsd/", "macOS, its log of changes"),
    (".TemporaryItems/", "macOS, saves under way"),
    (".Trashes/", "macOS, the trash of a disk"),
    ("[Tt]humbs.db", "Windows, small pictures of a folder"),
    ("ehthumbs.db", "Windows, small pictures of a folder"),
    ("[Dd]esktop.ini", "Windows, how a folder is shown"),
    ("$RECYCLE.BIN/", "Windows, the trash of a disk"),
    ("System Volume Information/", "Windows, its own of a disk"),
    (".directory", "KDE, how a folder is shown"),
    (".Trash-*/", "Linux desktops, the trash of a disk"),
    (".fuse_hidden*", "FUSE, a removed file that is still open"),
    (".nfs[0-9a-f]*", "NFS, a removed file that is still open"),
    ("lost+found/", "ext4, what a check of the disk found"),
)
"""Patterns that come before those of the file, and what makes such files. The same on every peer of a version."""

_EVERYWHERE = "**"
_STAR = "[^/]*"
_ANY = "[^/]+"
_TAIL = "(?:(?P<ps_d>/)|$)"
_ODD_SET = re.compile(r"(?<!\\)\[[^\]]*?(?:\[|--|&&|\|\||~~)")


class ListUnusable(TwistedP2PError):
    """A list as a whole is beyond its limits: the last good one holds. Make it shorter."""

    code = "ignore-list"


@frozen
class Pattern:
    """One pattern: its text, the line of the list that it is in, and what the default is for ("" in a file)."""

    text: str
    line: int
    negated: bool = False
    default: str = ""


@frozen
class Problem:
    """A line that is not used, and why: a sentence."""

    line: int
    text: str
    reason: str


@frozen
class _Rule:
    """A pattern as it is matched: whether only folders match, and its names from the top; None stands for ``**``.

    A pattern of one name (`by_name`) matches at any depth.
    """

    pattern: Pattern
    folders_only: bool
    by_name: bool
    names: tuple[re.Pattern[str] | None, ...]
    first: str | None


class _Unusable(Exception):
    """Why a line is not used."""


class Ignores:
    """The patterns in force; made by `parse_ignores`, and never changed.

    `text` is the file that they are from, `problems` the lines of it that are not used.
    """

    def __init__(self, text: bytes, rules: Iterable[_Rule], problems: Iterable[Problem]) -> None:
        self.text = text
        self.problems = tuple(problems)
        self._rules = tuple(rules)
        self._literal: dict[str, list[int]] = {}
        self._suffix: dict[str, list[int]] = {}
        self._prefix: dict[str, list[int]] = {}
        self._globs: list[int] = []
        self._below: dict[str, list[int]] = {}
        self._paths: list[int] = []
        for number, rule in enumerate(self._rules):
            self._file(number, rule)
        self._suffix_lengths = sorted({len(suffix) for suffix in self._suffix})
        self._prefix_lengths = sorted({len(prefix) for prefix in self._prefix})
        self._folders: dict[str, Pattern | None] = {}

    def _file(self, number: int, rule: _Rule) -> None:
        """Note a rule where it is found by what a path has in common with it: most paths match none."""
        if not rule.by_name:
            where = self._paths if rule.first is None else self._below.setdefault(rule.first, [])
            where.append(number)
            return
        assert rule.names[0] is not None
        head, star, tail = rule.names[0].pattern.partition(_STAR)
        literal_head, literal_tail = _unescaped(head), _unescaped(tail)
        if literal_head is None or literal_tail is None or (star and literal_head and literal_tail):
            self._globs.append(number)
        elif not star:
            self._literal.setdefault(literal_head, []).append(number)
        elif literal_head:
            self._prefix.setdefault(literal_head, []).append(number)
        else:
            self._suffix.setdefault(literal_tail, []).append(number)

    def patterns(self) -> Iterator[Pattern]:
        """Yield the patterns in the order in which they count: a later one wins over an earlier one."""
        for rule in self._rules:
            yield rule.pattern

    def ignored(self, path: str, kind: Kind) -> bool:
        """Whether what is at `path`, of this kind, is not shared."""
        found = self.deciding(path, kind)
        return found is not None and not found.negated

    def of(self, path: RelPath, kind: Kind) -> bool:
        """Whether what is at `path`, of this kind, is not shared."""
        return self.ignored(path.text, kind)

    def deciding(self, path: str, kind: Kind) -> Pattern | None:
        """Return the pattern that decides about `path`: that of a folder above it if that is ignored; None: no one."""
        if path == IGNORE_NAME:
            return None
        above, _, name = path.rpartition("/")
        if above and (found := self._folder(above)) is not None:
            return found
        return self._last(path, name, kind == Kind.FOLDER)

    def _folder(self, path: str) -> Pattern | None:
        """Return the pattern by which the folder `path`, or one above it, is ignored."""
        if path in self._folders:
            return self._folders[path]
        found = self.deciding(path, Kind.FOLDER)
        if found is not None and found.negated:
            found = None
        if len(self._folders) >= IGNORE_FOLDERS:
            self._folders = {}
        self._folders[path] = found
        return found

    def _last(self, path: str, name: str, folder: bool) -> Pattern | None:
        """Return the last pattern that matches `path` itself."""
        last = -1
        for number in self._candidates(name):
            if number > last and (folder or not self._rules[number].folders_only):
                last = number
        for number in self._globs:
            rule = self._rules[number]
            if number > last and (folder or not rule.folders_only):
                assert rule.names[0] is not None
                if rule.names[0].fullmatch(name):
                    last = number
        below = self._below.get(path.partition("/")[0], ()) if self._below else ()
        if below or self._paths:
            names = path.split("/")
            for number in (*below, *self._paths):
                rule = self._rules[number]
                if number > last and (folder or not rule.folders_only) and _matches(rule.names, names):
                    last = number
        return None if last < 0 else self._rules[last].pattern

    def _candidates(self, name: str) -> Iterator[int]:
        """Yield the rules for names without a wildcard, or with one at an end, that match `name`."""
        yield from self._literal.get(name, ())
        for length in self._suffix_lengths:
            if length > len(name):
                break
            yield from self._suffix.get(name[len(name) - length :], ())
        for length in self._prefix_lengths:
            if length > len(name):
                break
            yield from self._prefix.get(name[:length], ())


def parse_ignores(text: bytes = b"") -> Ignores:
    """Return the default list with the patterns of `text`, a `.twistedp2pignore`, after it.

    A line that is no pattern is left out and named in `problems`. Raises `ListUnusable` for a text that is too long or
    has too many patterns.
    """
    if len(text) > IGNORE_BYTES:
        raise ListUnusable(f"{IGNORE_NAME} is longer than {IGNORE_BYTES // 1024} KiB: make it shorter.")
    rules = list(_default_rules())
    problems = []
    count = 0
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            rule = _rule(_decoded(line), number)
        except _Unusable as error:
            problems.append(Problem(number, line.decode(errors="replace").strip(), str(error)))
            continue
        if rule is not None:
            count += 1
            rules.append(rule)
    if count > IGNORE_PATTERNS:
        raise ListUnusable(f"{IGNORE_NAME} has more than {IGNORE_PATTERNS:,} patterns: use fewer.")
    return Ignores(text, rules, problems)


@lru_cache(maxsize=1)
def _default_rules() -> tuple[_Rule, ...]:
    rules = (_rule(text, number, default) for number, (text, default) in enumerate(DEFAULTS, start=1))
    return tuple(rule for rule in rules if rule is not None)


def _decoded(line: bytes) -> str:
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise _Unusable("It is not UTF-8.") from None
    if "\0" in text:
        raise _Unusable("It has a NUL character.")
    return unicodedata.normalize("NFC", text)  # as paths are


def _rule(line: str, number: int, default: str = "") -> _Rule | None:
    """Return the rule that a line is, None for an empty line or a comment."""
    text = re.sub(r"(?<!\\) +$", "", line)
    if not text or text.startswith("#"):
        return None
    if len(text) > IGNORE_PATTERN_CHARS:
        raise _Unusable(f"It is longer than {IGNORE_PATTERN_CHARS} characters.")
    negated = text.startswith("!")
    body = text[negated:]
    folders_only = body.endswith("/")
    if folders_only:
        body = body[:-1]
    by_name = "/" not in body
    parts = body.removeprefix("/").split("/")
    if not all(parts):
        raise _Unusable("It can not match any name.")
    if by_name and parts == [_EVERYWHERE]:
        parts = ["*"]
    names: list[re.Pattern[str] | None] = []
    for part in parts:
        if part != _EVERYWHERE:
            names.append(_name(part))
        elif not names or names[-1] is not None:
            names.append(None)
    first = None if by_name or names[0] is None else _unescaped(names[0].pattern)
    return _Rule(Pattern(text, number, negated, default), folders_only, by_name, tuple(names), first)


def _name(part: str) -> re.Pattern[str]:
    """Return what matches one name as the glob `part` does, in a time of their two lengths at most.

    Of what stands between two stars, the leftmost place where it fits is as good as any: taking that one for good
    (a lookahead is never entered again) is what keeps ``*a*a*a*b`` from trying all.
    """
    kept = re.sub(r" +$", lambda spaces: r"\ " * len(spaces[0]), part) if not part.endswith("\\ ") else part
    try:
        regex, _ = GitIgnoreSpecPattern.pattern_to_regex("/" + kept)
    except GitIgnorePatternError:
        raise _Unusable("It is not a pattern.") from None
    if regex is None or not regex.startswith("^") or not regex.endswith(_TAIL):
        raise _Unusable("It is not a pattern.")
    if _ODD_SET.search(regex):
        raise _Unusable("A set in it can not be used here: write out its characters.")
    inner = regex[1 : -len(_TAIL)]
    if inner != _ANY:
        head, *pieces = inner.split(_STAR)
        if pieces:
            tail = pieces.pop()
            between = [piece for piece in pieces if piece]
            inner = head + "".join(
                f"(?=(?P<p{number}>{_STAR}?{piece}))(?P=p{number})" for number, piece in enumerate(between)
            )
            inner += _STAR + tail
    try:
        return re.compile(inner)
    except re.error:
        raise _Unusable("It is not a pattern.") from None


def _unescaped(regex: str) -> str | None:
    """Return the only text that `regex` matches, None if it matches several."""
    text = re.sub(r"\\(.)", r"\1", regex, flags=re.DOTALL)
    return text if re.escape(text) == regex else None


def _matches(names: tuple[re.Pattern[str] | None, ...], path: list[str]) -> bool:
    """Whether a pattern matches all of a path; ``**`` (None) stands for any number of names, at the end for some.

    Only the last ``**`` is tried again: what came before it fits as far to the left as it can.
    """
    at = here = 0
    again: tuple[int, int] | None = None
    while here < len(path):
        if at < len(names) and names[at] is None:
            if at == len(names) - 1:
                return True
            again = (at, here)
            at += 1
            continue
        if at < len(names) and (name := names[at]) is not None and name.fullmatch(path[here]):
            at, here = at + 1, here + 1
            continue
        if again is None:
            return False
        at, here = again[0] + 1, again[1] + 1
        again = (again[0], here)
    return at == len(names)
