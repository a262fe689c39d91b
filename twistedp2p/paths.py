"""Names inside a shared folder: `RelPath` is the only way a name from the network becomes usable.

A path is text: components joined by ``/``, UTF-8 when it is stored or sent, in Unicode's normal form C.
What is refused is refused here and nowhere else: whatever would leave the folder, reach the state folder
of a share (also by case, by invisible characters, or by the short names that FAT and NTFS make up), or
outgrow the limits. A share made for other systems too has the stricter rules of `NameRules.PORTABLE`.
Nothing here touches a disk; a checked path must still be walked without following symbolic links.
"""

from __future__ import annotations

import os.path
import re
import unicodedata
from base64 import b32encode
from collections.abc import Sequence
from datetime import date
from enum import Enum

from attrs import frozen

from twistedp2p.errors import BadPath
from twistedp2p.limits import (
    COMPONENT_BYTES,
    CONFLICT_NAME_BYTES,
    PATH_BYTES,
    PATH_DEPTH,
    PORTABLE_COMPONENT_UNITS,
)

__all__ = ["NameRules", "RelPath", "conflict_name", "form_of", "from_disk"]


class NameRules(Enum):
    """What a share allows as a name; fixed when the share is made, and the same for all its members."""

    POSIX = "posix"  # what Linux and macOS can store: case, colons and even line breaks are the user's own
    PORTABLE = "portable"  # what Windows can store as well


# Unicode's Default_Ignorable_Code_Point: drawn as nothing, and skipped by some file systems when they compare.
# Written out, because the Unicode tables of two Python versions differ and two peers must not.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# The state folder, the trash that stays when a share is left, and the names by which FAT and NTFS may know them:
# "TWISTE~1", or "TW" with a hash of the name.
_STATE_FOLDER = re.compile(r"\.twistedp2p(?:-trash(?:-[0-9]+)?)?|(?:tp2p|twiste|tw[0-9a-f]{4})~[0-9]+")
# ASCII paths that no rule of POSIX can refuse: nearly all there are, passed in one match.
_PLAIN = re.compile(r"[^\0/.~][^\0/~]{0,254}(?:/[^\0/.~][^\0/~]{0,254}){0,63}")
_NOT_PORTABLE = re.compile('[\0-\x1f\x7f-\x9f<>:"\\\\|?*]')
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$")


@frozen(order=True)
class RelPath:
    """A checked path below the shared folder; paths compare by `text`, which is the order of their UTF-8.

    Making one checks it by the rules of POSIX; `parse` is for what comes from outside and knows both rules.
    Raises `BadPath`, whose text is a sentence for a person.
    """

    text: str

    def __attrs_post_init__(self) -> None:
        text = self.text
        if len(text) > PATH_BYTES or not text.isascii() or not _PLAIN.fullmatch(text):
            _check_posix(text)

    @classmethod
    def parse(cls, text: str, rules: NameRules = NameRules.POSIX) -> RelPath:
        """Return the path written as `text`, or raise `BadPath` if `rules` do not allow it."""
        path = cls(text)
        if rules is NameRules.PORTABLE:
            for name in path.parts:
                _check_portable(name)
        return path

    @property
    def parts(self) -> tuple[str, ...]:
        """The components, top first."""
        return tuple(self.text.split("/"))

    @property
    def name(self) -> str:
        """The last component."""
        return self.text.rpartition("/")[2]

    @property
    def parent(self) -> RelPath | None:
        """The path of the folder that this is in; None at the top of the share."""
        above = self.text.rpartition("/")[0]
        return RelPath(above) if above else None

    def ancestors(self) -> tuple[RelPath, ...]:
        """Return the folders that this is in, the nearest first."""
        found = []
        above = self.parent
        while above is not None:
            found.append(above)
            above = above.parent
        return tuple(found)

    def child(self, name: str, rules: NameRules = NameRules.POSIX) -> RelPath:
        """Return the path of `name`, one component, in this folder; raises `BadPath`."""
        if "/" in name:
            raise BadPath(f"{_shown(name)} is not one name: it has a slash in it.")
        return RelPath.parse(f"{self.text}/{name}", rules)

    def is_below(self, other: RelPath) -> bool:
        """Return whether this is inside the folder `other`, at any depth; not below itself."""
        return self.text.startswith(other.text + "/")

    @property
    def collision_key(self) -> str:
        """What two paths have in common that some file system takes for one: case, width, invisible characters."""
        # A few characters fold to a slash (U+FF0F, U+2100); it must not look like a deeper path.
        return "/".join(_fold(name).replace("/", "\0") for name in self.parts)


def from_disk(parts: Sequence[bytes], rules: NameRules = NameRules.POSIX) -> RelPath:
    """Return the path under which the names `parts`, as the local disk has them, travel.

    A name that is not in normal form C travels as if it were; the caller keeps the disk's own bytes.
    Raises `BadPath` for a name that is not UTF-8, or that `rules` do not allow: it stays on this machine.
    """
    names = []
    for part in parts:
        try:
            name = part.decode("utf-8")
        except UnicodeDecodeError:
            raise BadPath(f"The name {part!r} is not UTF-8; rename it to share it.") from None
        if "/" in name:
            raise BadPath(f"{_shown(name)} is not one name: it has a slash in it.")
        names.append(unicodedata.normalize("NFC", name))
    return RelPath.parse("/".join(names), rules)


def form_of(component: bytes) -> bytes:
    """Return the bytes of one name as it travels, in normal form C; a name that can not travel stays as it is."""
    if component.isascii():
        return component
    try:
        return unicodedata.normalize("NFC", component.decode("utf-8")).encode()
    except UnicodeDecodeError:
        return component


def conflict_name(
    path: RelPath, *, mtime_ns: int, author: bytes, content_id: bytes, digest_chars: int = 8
) -> RelPath:
    """Return where a version of `path` that did not win is kept: ``stem (conflict DATE NODE HASH).ext``.

    A pure function of its arguments, so that all peers which resolve a conflict make one copy: DATE is the
    day (UTC) of `mtime_ns`, NODE the first six characters of `author` (the replica id that wrote it) in
    base32, HASH the first `digest_chars` hexadecimal digits of `content_id`. The stem is cut so that the
    name and the path keep within the limits; where not even one character of it has room, the copy goes
    into the nearest folder above that has. Portable if `path` is.
    """
    day = min(max(mtime_ns // 86_400_000_000_000, 0), date.max.toordinal() - _DAY_ZERO)
    node = b32encode(author).decode().lower()[:6]
    stem, extension = os.path.splitext(path.name)
    if len(extension.encode()) > 16 or " " in extension:
        stem, extension = path.name, ""  # "Mr. Smith" and "site.example.organisation.backup" have none
    tail = f" (conflict {date.fromordinal(_DAY_ZERO + day)} {node} {content_id.hex()[:digest_chars]}){extension}"
    folder = path.parent
    while True:
        used = 0 if folder is None else len(folder.text.encode()) + 1
        kept = _cut(stem, min(CONFLICT_NAME_BYTES, PATH_BYTES - used) - len(tail.encode()))
        if folder is None:
            return RelPath(kept + tail)
        if kept:
            return folder.child(kept + tail)
        folder = folder.parent


_DAY_ZERO = date(1970, 1, 1).toordinal()


def _cut(text: str, most: int) -> str:
    """Return the longest start of `text` that is at most `most` bytes of UTF-8.

    Cut between code points, not graphemes: where those end depends on Python's version, and names must not.
    """
    return text.encode()[: max(most, 0)].decode("utf-8", "ignore")


def _fold(name: str) -> str:
    """Return `name` without what some file system does not see: invisible characters, width, case."""
    if name.isascii():
        return name.lower()
    plain = unicodedata.normalize("NFKC", _IGNORABLE.sub("", name)).casefold()
    return unicodedata.normalize("NFC", plain)


def _shown(name: str) -> str:
    """Return `name` quoted for a message: without characters that act on a terminal, and not too long."""
    return repr(name if len(name) <= 80 else name[:79] + "\u2026")


def _check_posix(text: str) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadPath(f"The name {_shown(text)} is not UTF-8; rename it to share it.") from None
    if size > PATH_BYTES:
        raise BadPath(f"The path {_shown(text)} is {size} bytes long; {PATH_BYTES} is the most that can be shared.")
    if not unicodedata.is_normalized("NFC", text):
        raise BadPath(f"The path {_shown(text)} is not in Unicode's normal form C.")
    names = text.split("/")
    if len(names) > PATH_DEPTH:
        raise BadPath(f"The path {_shown(text)} is {len(names)} folders deep; {PATH_DEPTH} is the most.")
    for name in names:
        if name in ("", ".", ".."):
            raise BadPath(f"The path {_shown(text)} has {name!r} in it, which is no name of a file.")
        _check_component(name)


def _check_component(name: str) -> None:
    if "\0" in name:
        raise BadPath(f"The name {_shown(name)} has a zero byte in it.")
    if len(name.encode()) > COMPONENT_BYTES:
        raise BadPath(f"The name {_shown(name)} is longer than {COMPONENT_BYTES} bytes; shorten it to share it.")
    # Cut at a colon: on NTFS "name:stream" opens what "name" is.
    if _STATE_FOLDER.fullmatch(_fold(name).partition(":")[0].rstrip(". ")):
        raise BadPath(f"The name {_shown(name)} is kept for the state of a share, which is never shared.")


def _check_portable(name: str) -> None:
    # A character has never more units of UTF-16 than bytes of UTF-8, so this one bound serves for both.
    if len(name.encode()) > PORTABLE_COMPONENT_UNITS:
        raise BadPath(
            f"The name {_shown(name)} is longer than {PORTABLE_COMPONENT_UNITS} bytes; shorten it to share it."
        )
    found = _NOT_PORTABLE.search(name)
    if found:
        raise BadPath(f"The name {_shown(name)} has {found[0]!r} in it, which Windows forbids; rename it to share it.")
    if _BIDI.search(name):
        raise BadPath(
            f"The name {_shown(name)} has a character in it that turns the direction of text; rename it to share it."
        )
    visible = _IGNORABLE.sub("", name)
    if not visible:
        raise BadPath(f"The name {_shown(name)} has no visible character; rename it to share it.")
    if visible[-1] in ". ":
        raise BadPath(f"The name {_shown(name)} ends in a dot or space, which Windows drops; rename it to share it.")
    if _DEVICE.fullmatch(_fold(name).partition(".")[0].rstrip(" ")):
        raise BadPath(f"The name {_shown(name)} is that of a device on Windows; rename it to share it.")
