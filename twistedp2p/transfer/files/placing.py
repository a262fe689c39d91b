"""Small files that came whole are verified, written and put in place by the batch. Blocks: for worker threads."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import groupby

from attrs import frozen

from twistedp2p.disk.seam import Disk, Name
from twistedp2p.errors import AlreadyThere, CorruptContent, NotWritable, TwistedP2PError
from twistedp2p.transfer.files.local import Source, hash_of, in_local_words, part_name, put_in_place, sizes_of
from twistedp2p.transfer.files.old_parts import OldParts
from twistedp2p.transfer.files.on_disk import make_folders
from twistedp2p.transfer.hashing import content_id_of

__all__ = ["Small", "flush", "place_small", "small_here"]


@frozen
class Small:
    """A small file that came whole."""

    target: Name
    source: Source
    content: bytes
    """The content id that it should have."""
    data: bytes
    mtime_ns: int
    executable: bool


def small_here(disk: Disk, files: Sequence[tuple[Name, int]]) -> list[tuple[int | None, bytes | None]]:
    """Return for each target what `sizes_of` does, and the content id if that is the size that is given with it."""
    found: list[tuple[int | None, bytes | None]] = []
    for (target, wanted), size in zip(files, sizes_of(disk, [target for target, _ in files]), strict=True):
        content = None
        if size == wanted:
            with contextlib.suppress(TwistedP2PError):  # whoever needs it asks again, and hears why
                content = hash_of(disk, target)
        found.append((size, content))
    return found


def place_small(disk: Disk, files: Sequence[Small], overwrite: bool, old: OldParts) -> list[TwistedP2PError | None]:
    """Verify small files, write them and put them in place; return for each why that was not possible, or None.

    They take the places of what `old` knows of earlier states of them.
    They are not flushed one by one: `Disk.sync_all` does it for all.
    """
    outcomes: list[TwistedP2PError | None] = []
    for folder, some in groupby(files, key=lambda file: file.target[:-1]):
        together = list(some)
        try:
            with in_local_words(together[0].target):
                make_folders(disk, folder)
                inside = disk.enter(folder)
        except TwistedP2PError as error:
            outcomes += [error] * len(together)
            continue
        with contextlib.closing(inside):
            outcomes += [_place(inside, file, overwrite, old) for file in together]
    return outcomes


def _place(folder: Disk, file: Small, overwrite: bool, old: OldParts) -> TwistedP2PError | None:
    """Write a small file into its folder; return why that is not possible, or None."""
    try:
        with in_local_words(file.target):
            _write_small(folder, file, overwrite, old)
    except TwistedP2PError as error:
        return error
    return None


def _write_small(folder: Disk, file: Small, overwrite: bool, old: OldParts) -> None:
    if content_id_of(file.data) != file.content:
        raise CorruptContent("What came is not what the server has.")
    target = file.target[-1:]
    part = part_name(file.target, file.source)
    old.make_way(part)
    name = part[-1:]
    mode = 0o777 if file.executable else 0o666
    try:
        opened = folder.create(name, mode)
    except FileExistsError:  # left by an earlier try
        folder.unlink(name)
        opened = folder.create(name, mode)
    with opened:
        opened.write_at(0, file.data)
        opened.set_mtime(file.mtime_ns)
    try:
        put_in_place(folder, name, target, overwrite, file.target)
    except AlreadyThere:
        folder.unlink(name)
        raise


def flush(disk: Disk) -> None:
    """Return when what `place_small` placed is on stable storage."""
    try:
        disk.sync_all()
    except OSError as error:
        why = error.strerror
        raise NotWritable(f"The disk could not store all that was fetched ({why}); look after it.") from error
