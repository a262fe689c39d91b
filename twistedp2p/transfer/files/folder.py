"""A folder of this disk as a source of named files: listed, read and changed in worker threads.

Nothing outside of the folder can be reached: paths have passed `paths`, and the disk walks them from the open folder
without following a link. `.twistedp2p` in it is the server's own (`paths` refuses it), for files that are being put.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice
from threading import Lock

from blake3 import blake3
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, FileKind, OpenFile, Stat
from twistedp2p.errors import AlreadyThere, FileChanged, NoSuchFile, TwistedP2PError
from twistedp2p.transfer.files.messages import FileEntry, ListFolder, PutFile
from twistedp2p.transfer.files.on_disk import InThread, in_words, make_folders
from twistedp2p.transfer.files.pattern import Pattern
from twistedp2p.transfer.files.source import OpenedFile, SmallFile, Upload, check_range
from twistedp2p.transfer.files.tokens import HashesUnderWay, KnownHashes, Tokens
from twistedp2p.transfer.files.uploads import Uploads
from twistedp2p.transfer.files.walk import Found, locate, look, walk
from twistedp2p.transfer.hashing import content_id_of

__all__ = ["ServedFolder"]

_HASH_STEP = 16 * limits.READ_BYTES
_ENTRIES_AT_ONCE = 500
"""Entries of one page: a path may have a thousand bytes, and a page must fit a frame, see `_pages`."""
_ENTRY_BYTES = 64
"""What an entry takes in a frame beside its path, at most."""
_EXECUTABLE = 0o111


class ServedFolder:
    """A `WritableSource` over a disk.

    Args:
        disk: the folder; closed by whoever made it.
        clock: tells when to say that a listing or a hash is under way.
        in_thread: runs what blocks.
        key: 32 bytes for tokens and for the names of parts; the same after a restart, or nothing can go on.
    """

    def __init__(self, disk: Disk, clock: IReactorTime, in_thread: InThread, key: bytes) -> None:
        self._disk = disk
        self._clock = clock
        self._in_thread = in_thread
        self._tokens = Tokens(key)
        self._hashes = KnownHashes()
        self._under_way = HashesUnderWay()
        self._uploads = Uploads(disk, self._tokens, self._hashes)

    # -- reading --

    async def listing(self, asked: ListFolder) -> AsyncIterator[Sequence[FileEntry]]:
        """See `FileSource.listing`."""
        pages = self._pages(asked)
        while (page := await self._in_thread(next, pages, None)) is not None:
            yield page

    def open(self, path: str, token: bytes) -> Deferred[OpenedFile]:
        """See `FileSource.open`."""
        return self._in_thread(self._open, path, token)

    def read_range(self, path: str, token: bytes, offset: int, length: int) -> Deferred[bytes]:
        """See `FileSource.read_range`."""
        return self._in_thread(self._read_range, path, token, offset, length)

    def read_small(self, files: Sequence[tuple[str, bytes]]) -> Deferred[list[SmallFile | TwistedP2PError]]:
        """See `FileSource.read_small`."""
        return self._in_thread(self._read_small, files)

    def content_of(self, path: str, token: bytes, progress: Callable[[int], object]) -> Deferred[bytes]:
        """See `FileSource.content_of`."""
        return Deferred.fromCoroutine(self._content_of(path, token, progress))

    def received(self, files: int, size: int, accepted: bool) -> None:
        """See `FileSource.received`; a folder goes on whatever somebody received."""

    def _pages(self, asked: ListFolder) -> Iterator[list[FileEntry] | None]:
        with in_words(asked.path):
            top = look(self._disk, asked.path)
            pattern = Pattern(asked.pattern)
            found = walk(self._disk, top, deep=asked.deep, after=asked.after)
            empty = not asked.after
            while seen := list(islice(found, _ENTRIES_AT_ONCE)):
                empty = False
                page: list[FileEntry] = []
                room = limits.BATCH_BYTES
                for entry in (self._entry(one) for one in seen if pattern.matches(one.path)):
                    room -= len(entry.path.encode()) + _ENTRY_BYTES
                    if room < 0:
                        yield page
                        page, room = [], limits.BATCH_BYTES - len(entry.path.encode()) - _ENTRY_BYTES
                    page.append(entry)
                yield page
            # A folder that was removed or unmounted looks empty from within.
            if empty and not self._disk.in_place():
                raise NoSuchFile("The folder that is served is gone.")

    def _entry(self, found: Found) -> FileEntry:
        stat = found.stat
        if stat.kind is FileKind.FOLDER:
            return FileEntry(found.path, True, mtime_ns=stat.mtime_ns)
        executable = bool(stat.mode & _EXECUTABLE)
        return FileEntry(found.path, False, stat.size, stat.mtime_ns, executable, self._tokens.of(stat))

    def _open(self, path: str, token: bytes) -> _Opened:
        with in_words(path):
            opened = self._disk.open(locate(self._disk, path))
            try:
                stat = opened.stat()
                if self._tokens.of(stat) != token:
                    raise FileChanged(f"{path} is not what it was when it was listed; ask for it again.")
            except BaseException:
                opened.close()
                raise
            return _Opened(path, opened, stat, self._in_thread, lambda at, data: self._was_read(token, stat, at, data))

    def _read_range(self, path: str, token: bytes, offset: int, length: int) -> bytes:
        opened = self._open(path, token)
        try:
            check_range(path, opened, offset, length)
            return opened.read_and_hash(offset, length)
        finally:
            opened.let_go()

    def _was_read(self, token: bytes, stat: Stat, offset: int, data: bytes) -> None:
        """Hash what is read for somebody: nearly always the hash is what is asked for next."""
        if self._hashes.get(token) is None:
            content = self._under_way.read(token, stat.size, offset, data)
            if content is not None:
                self._hashes.add(token, content, stat, self._disk.now_ns())

    def _read_small(self, files: Sequence[tuple[str, bytes]]) -> list[SmallFile | TwistedP2PError]:
        """Read small files; the folder of some that follow each other is looked up once."""
        found: list[SmallFile | TwistedP2PError] = []
        for above, some in groupby(files, key=lambda file: file[0].rpartition("/")[0]):
            together = list(some)
            try:
                with in_words(above):
                    folder = self._disk.enter(locate(self._disk, above))
            except TwistedP2PError as error:
                found += [error] * len(together)
                continue
            with closing(folder):
                found += [self._small(folder, path, token) for path, token in together]
        return found

    def _small(self, folder: Disk, path: str, token: bytes) -> SmallFile | TwistedP2PError:
        try:
            with in_words(path), folder.open(locate(folder, path.rpartition("/")[2])) as opened:
                data = opened.read_at(0, limits.SMALL_FILE_BYTES + 1)
                if self._tokens.of(opened.stat()) != token:
                    raise FileChanged(f"{path} is not what it was when it was listed; ask for it again.")
            if len(data) > limits.SMALL_FILE_BYTES:
                raise FileChanged(f"{path} is too large to be sent in one piece.")
        except TwistedP2PError as error:
            return error
        return SmallFile(content_id_of(data), data)

    async def _content_of(self, path: str, token: bytes, progress: Callable[[int], object]) -> bytes:
        known = self._hashes.get(token)
        if known is not None:
            return known
        opened = await self._in_thread(self._open, path, token)
        try:
            hasher, done, said = blake3(), 0, self._clock.seconds()
            while done < opened.size:
                done += await self._in_thread(opened.hash_into, hasher, done, min(_HASH_STEP, opened.size - done))
                if self._clock.seconds() - said >= limits.HASHED_EVERY:
                    said = self._clock.seconds()
                    progress(done)
            content = hasher.digest()
            self._hashes.add(token, content, opened.stat, self._disk.now_ns())
            return content
        finally:
            opened.close()

    def forget_orphans(self) -> None:
        """Remove what was left long ago of files that were being put; blocks."""
        self._uploads.forget_orphans()

    # -- changing --

    def put(self, asked: PutFile) -> Deferred[Upload]:
        """See `WritableSource.put`."""

        def begin() -> Upload:
            with in_words(asked.path):
                return self._uploads.begin(asked, locate(self._disk, asked.path), self._in_thread)

        return self._in_thread(begin)

    def remove(self, path: str, deep: bool) -> Deferred[None]:
        """See `WritableSource.remove`."""
        return self._in_thread(self._remove, path, deep)

    def rename(self, path: str, to: str, overwrite: bool) -> Deferred[None]:
        """See `WritableSource.rename`."""
        return self._in_thread(self._rename, path, to, overwrite)

    def make_folder(self, path: str) -> Deferred[None]:
        """See `WritableSource.make_folder`."""

        def make() -> None:
            with in_words(path):
                make_folders(self._disk, locate(self._disk, path))

        return self._in_thread(make)

    def _remove(self, path: str, deep: bool) -> None:
        with in_words(path):
            found = look(self._disk, path)
            if found.stat.kind is FileKind.FILE:
                self._disk.unlink(found.name)
                return
            if deep:
                self._empty(found)
            try:
                self._disk.remove_folder(found.name)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                what = "holds things that are not served" if deep else "is not empty"
                raise AlreadyThere(f"The folder {path} {what}; it stays.") from error

    def _empty(self, folder: Found) -> None:
        """Remove all that is served below a folder; what is not served is nobody's to remove from afar."""
        for found in list(walk(self._disk, folder, deep=False)):
            if found.stat.kind is FileKind.FILE:
                self._disk.unlink(found.name)
            else:
                self._empty(found)
                try:
                    self._disk.remove_folder(found.name)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise

    def _rename(self, path: str, to: str, overwrite: bool) -> None:
        with in_words(path):
            source = look(self._disk, path)
        with in_words(to):
            target = locate(self._disk, to)
            make_folders(self._disk, target[:-1])
            try:
                self._disk.rename(source.name, target)
            except FileExistsError as error:
                both_files = source.stat.kind is self._disk.stat(target).kind is FileKind.FILE
                if not (overwrite and both_files):
                    raise AlreadyThere(f"There is a {to} already.") from error
                self._disk.replace(source.name, target)


class _Opened:
    """A file that is open; it is given up as soon as it is seen to have changed."""

    def __init__(
        self,
        path: str,
        opened: OpenFile,
        stat: Stat,
        in_thread: InThread,
        was_read: Callable[[int, bytes], object],
    ) -> None:
        self.size = stat.size
        self.stat = stat
        self._path = path
        self._opened = opened
        self._in_thread = in_thread
        self._was_read = was_read
        self._reading = Lock()

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See `OpenedFile.read`."""
        return self._in_thread(self.read_and_hash, offset, length)

    def hash_into(self, hasher: blake3, offset: int, length: int) -> int:
        """Hash these bytes, in a worker thread; return how many they were."""
        for at in range(offset, offset + length, limits.READ_BYTES):
            hasher.update(self._read(at, min(limits.READ_BYTES, offset + length - at)))
        return length

    def read_and_hash(self, offset: int, length: int) -> bytes:
        """Return these bytes, in a worker thread."""
        data = self._read(offset, length)
        self._was_read(offset, data)
        return data

    def _read(self, offset: int, length: int) -> bytes:
        with in_words(self._path), self._reading:
            data = self._opened.read_at(offset, length)
            now = self._opened.stat()
        before = self.stat
        if len(data) != length or (now.size, now.mtime_ns) != (before.size, before.mtime_ns):
            raise FileChanged(f"{self._path} changed while it was read; ask for it again.")
        return data

    def close(self) -> None:
        """See `OpenedFile.close`."""
        self._in_thread(self.let_go).addErrback(lambda _: None)

    def let_go(self) -> None:
        """Close it, in a worker thread."""
        with self._reading:
            self._opened.close()
