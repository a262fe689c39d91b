"""Finding files below a folder by the paths that travel: one by its path, or all in order. Blocks: for worker threads.

Order is that of the components of a path, each by its bytes as it travels, so that a listing can go on after any path,
and that whoever gets it sees that it goes on.
However long a folder is, at most `limits.LISTING_NAMES` of its names are held.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from attrs import frozen

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, FileKind, Name, OtherDevice, Stat
from twistedp2p.errors import BadPath, FolderUnusable, NoSuchFile, TwistedP2PError
from twistedp2p.paths import RelPath, form_of, from_disk

__all__ = ["Found", "LeftOut", "locate", "look", "walk"]

_STATS_AT_ONCE = 512
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@frozen
class Found:
    """What a walk came by: its path as it travels, its name on the disk, and what the disk says of it."""

    path: str
    name: Name
    stat: Stat


def locate(disk: Disk, path: str) -> Name:
    """Return the name on the disk of `path`; of what is not there the name that it would get.

    A name that is not in normal form C on the disk is found, too. Raises `BadPath`.
    """
    if not path:
        return ()
    name: Name = ()
    for part in RelPath(path).parts:
        component = part.encode()
        if not part.isascii() and not _is_there(disk, (*name, component)):
            component = _other_form(disk, name, part) or component
        name = (*name, component)
    return name


def look(disk: Disk, path: str) -> Found:
    """Return the file or folder at `path`, "" for the top; raises `NoSuchFile` for anything else, and `BadPath`."""
    name = locate(disk, path)
    try:
        stat = disk.stat(name)
    except OSError as error:
        if isinstance(error, OtherDevice) or error.errno in _GONE:
            raise NoSuchFile(f"There is no {path}.") from error
        raise
    if stat.kind not in (FileKind.FILE, FileKind.FOLDER):
        raise NoSuchFile(f"{path} is {stat.kind.value}; only files and folders are served.")
    return Found(path, name, stat)


LeftOut = Callable[[str, TwistedP2PError], object]


def walk(
    disk: Disk, top: Found, *, deep: bool, after: str = "", left_out: LeftOut = lambda path, why: None
) -> Iterator[Found]:
    """Yield what is in the folder `top`, or that file itself, in order; with `deep` what is in its folders too.

    `after` is a path below `top`: only what comes after it. What is no file or folder, has a name that can not
    travel, or goes away meanwhile is left out, and so is what is mounted inside, and what may not be read.
    Of two names that travel as one only that which `locate` finds is yielded. `left_out` hears of names that can not
    travel, and of folders that may not be read, and why.
    """
    if top.stat.kind is not FileKind.FOLDER:
        if not after:
            yield top
        return
    rest = after[len(top.path) + 1 :] if top.path else after
    yield from _folder(disk, top, deep, rest, left_out)


def _folder(disk: Disk, folder: Found, deep: bool, after: str, left_out: LeftOut) -> Iterator[Found]:
    first, _, rest = after.partition("/")
    last = before = first.encode()
    if first:
        path = f"{folder.path}/{first}" if folder.path else first
        for found in _looked_at(disk, folder, [locate(disk, path)[-1]], left_out):
            if deep and found.stat.kind is FileKind.FOLDER:
                yield from _folder(disk, found, deep, rest, left_out)
    while True:
        try:
            names = disk.names(folder.name, last, limits.LISTING_NAMES, form_of)
        except OSError as error:
            if _is_left_out(folder, error, left_out):
                return
            raise
        singles = _one_of_each_form(folder, names, before, left_out)
        for at in range(0, len(singles), _STATS_AT_ONCE):
            for found in _looked_at(disk, folder, singles[at : at + _STATS_AT_ONCE], left_out):
                yield found
                if deep and found.stat.kind is FileKind.FOLDER:
                    yield from _folder(disk, found, deep, "", left_out)
        if len(names) < limits.LISTING_NAMES:
            return
        last, before = names[-1], form_of(names[-1])


def _one_of_each_form(folder: Found, names: list[bytes], before: bytes, left_out: LeftOut) -> list[bytes]:
    """Return `names` without those that travel as the one before them does: nobody could ask for them.

    `before` is as what the one before the first of them travels.
    """
    singles: list[bytes] = []
    for name in names:
        form = form_of(name)
        if form == before:
            shown = name.decode(errors="backslashreplace")
            why = BadPath(f"Another name there travels as {shown} too; rename one of them.")
            left_out(f"{folder.path}/{shown}" if folder.path else shown, why)
        else:
            singles.append(name)
            before = form
    return singles


def _is_left_out(folder: Found, error: OSError, left_out: LeftOut) -> bool:
    """Whether a folder that can not be read is gone, or none of ours; who may not read it is told."""
    if error.errno == errno.EACCES:
        left_out(folder.path, FolderUnusable(f"The folder {folder.path} can not be read ({error.strerror})."))
        return True
    return isinstance(error, OtherDevice) or error.errno in _GONE


def _looked_at(disk: Disk, folder: Found, names: list[bytes], left_out: LeftOut) -> Iterator[Found]:
    try:
        stats = disk.stats(folder.name, names)
    except OSError as error:
        if _is_left_out(folder, error, left_out):
            return
        raise
    for component, stat in stats:
        if stat.kind not in (FileKind.FILE, FileKind.FOLDER):
            continue
        try:
            last = from_disk((component,)).text
            path = RelPath(f"{folder.path}/{last}" if folder.path else last).text
        except BadPath as error:
            shown = component.decode(errors="backslashreplace")
            left_out(f"{folder.path}/{shown}" if folder.path else shown, error)
            continue
        yield Found(path, (*folder.name, component), stat)


def _is_there(disk: Disk, name: Name) -> bool:
    try:
        disk.stat(name)
    except OSError:
        return False
    return True


def _other_form(disk: Disk, folder: Name, part: str) -> bytes | None:
    """Return the name in `folder` that is `part` but for its normal form; None if there is none."""
    last = b""
    while True:
        try:
            names = disk.names(folder, last, limits.LISTING_NAMES)
        except OSError:
            return None
        for component in names:
            try:
                if not component.isascii() and from_disk((component,)).text == part:
                    return component
            except BadPath:
                continue
        if len(names) < limits.LISTING_NAMES:
            return None
        last = names[-1]
