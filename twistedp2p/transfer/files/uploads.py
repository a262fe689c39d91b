"""Files that are being put into a served folder: parts of the server's own until they are whole and verified.

A part lies in `.twistedp2p/files` of the folder, under a name that stands for path, size and content; its length says
how much is here, in order. Whoever puts the same file again goes on from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import Lock

from blake3 import blake3
from twisted.internet.defer import Deferred

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, FileKind, Name, OpenFile
from twistedp2p.errors import AlreadyThere, CorruptContent, NoSpace
from twistedp2p.transfer.files.messages import PutFile
from twistedp2p.transfer.files.on_disk import InThread, in_words, make_folders
from twistedp2p.transfer.files.tokens import KnownHashes, Tokens
from twistedp2p.transfer.hashing import hasher_of

__all__ = ["PARTS", "Uploads", "reserve"]

PARTS: Name = (b".twistedp2p", b"files")
"""Where the parts lie: `paths` lets nobody name it."""


def reserve(disk: Disk) -> int:
    """Return how many bytes of a disk are left free: nothing is put that would take them."""
    return min(limits.FREE_SPACE_BYTES, disk.space().total // 100)


class Uploads:
    """All files that are being put into one folder. Methods block; threads may share it."""

    def __init__(self, disk: Disk, tokens: Tokens, hashes: KnownHashes) -> None:
        self._disk = disk
        self._tokens = tokens
        self._hashes = hashes
        self._under_way: dict[Name, DiskUpload] = {}
        self._lock = Lock()

    def begin(self, asked: PutFile, target: Name, in_thread: InThread) -> DiskUpload:
        """Return the upload of `asked` to the name `target`, begun anew or gone on with.

        Another upload of the very same is ended: most likely its client lost the connection, which was not noticed
        here yet, and comes again. Raises `AlreadyThere`, `NoSpace`, or OSError as the disk does.
        """
        meant = f"{asked.path}\0{asked.size}\0{asked.executable}\0{asked.content.hex()}"
        part = (*PARTS, self._tokens.of_name(meant).encode())
        upload = DiskUpload(self._disk, asked, target, part, in_thread, lambda: self._forget(part, upload))
        with self._lock:
            before = self._under_way.get(part)
            self._under_way[part] = upload
        try:
            if before is not None:
                before.take_away()
            if self._is_there(asked, target):
                upload.present, upload.offset = True, asked.size
            else:
                upload.open()
            return upload
        except BaseException:
            self._forget(part, upload)
            raise

    def _forget(self, part: Name, upload: DiskUpload) -> None:
        with self._lock:
            if self._under_way.get(part) is upload:
                del self._under_way[part]

    def forget_orphans(self) -> None:
        """Remove parts that nobody wrote to for `limits.PART_ORPHAN_SECONDS`."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            now = self._disk.now_ns()
            for component, stat in self._disk.entries(PARTS):
                if stat.kind is FileKind.FILE and now - stat.mtime_ns > limits.PART_ORPHAN_SECONDS * 1e9:
                    self._disk.unlink((*PARTS, component))

    def _is_there(self, asked: PutFile, target: Name) -> bool:
        """Return whether that very file is there; raises `AlreadyThere` if another is that may not be replaced."""
        try:
            stat = self._disk.stat(target)
        except FileNotFoundError:
            return False
        except NotADirectoryError as error:
            raise AlreadyThere(f"Something above {asked.path} is there already, and is no folder.") from error
        if stat.kind is FileKind.FILE and stat.size == asked.size:
            token = self._tokens.of(stat)
            content = self._hashes.get(token)
            if content is None:
                with self._disk.open(target) as opened:
                    content = hasher_of(opened, asked.size).digest()
                self._hashes.add(token, content, stat, self._disk.now_ns())
            if content == asked.content:
                return True
        if not asked.overwrite or stat.kind is not FileKind.FILE:
            raise AlreadyThere(f"There is {stat.kind.value} at {asked.path} already.")
        return False


class DiskUpload:
    """An `Upload` into a part; made by `Uploads`."""

    def __init__(
        self, disk: Disk, asked: PutFile, target: Name, part: Name, in_thread: InThread, ended: Callable[[], object]
    ) -> None:
        self.offset = 0
        self.present = False
        self._disk = disk
        self._asked = asked
        self._target = target
        self._part = part
        self._in_thread = in_thread
        self._ended = ended
        self._file: OpenFile | None = None
        self._taken_away = False
        self._hasher = blake3()
        self._busy = Lock()

    def open(self) -> None:
        """Open the part, and hash what it has; raises `NoSpace`, or OSError as the disk does."""
        with self._busy:
            if self._taken_away:
                raise self._elsewhere()
            self._open()

    def take_away(self) -> None:
        """Let go of the part when what is under way is written: somebody else goes on with it."""
        with self._busy:
            self._taken_away = True
            self._let_go()

    def _elsewhere(self) -> AlreadyThere:
        return AlreadyThere(f"{self._asked.path} is being put over another connection now.")

    def _open(self) -> None:
        make_folders(self._disk, PARTS, 0o700)
        try:
            self._file = self._disk.open_part(self._part)
        except FileNotFoundError:
            # The folder is private; so it can have the mode by now that it keeps.
            self._file = self._disk.create(self._part, 0o777 if self._asked.executable else 0o666)
        try:
            here = self._file.stat().size
            if here > self._asked.size:
                self._file.resize(0)
                here = 0
            if self._disk.space().free - reserve(self._disk) < self._asked.size - here:
                raise NoSpace("There is not enough room on the server's disk.")
            self._hasher = hasher_of(self._file, here)
            self.offset = here
        except BaseException:
            self._let_go()
            raise

    def write(self, data: bytes) -> Deferred[None]:
        """See `Upload.write`."""
        return self._in_thread(self._write, data)

    def finish(self) -> Deferred[None]:
        """See `Upload.finish`."""
        return self._in_thread(self._finish)

    def close(self) -> None:
        """See `Upload.close`."""
        self._in_thread(self._close).addBoth(lambda _: self._ended())

    def _write(self, data: bytes) -> None:
        with in_words(self._asked.path), self._busy:
            if self._file is None:
                raise self._elsewhere()
            self._file.write_at(self.offset, data)
            self._hasher.update(data)
            self.offset += len(data)

    def _finish(self) -> None:
        asked = self._asked
        with in_words(asked.path), self._busy:
            if self._file is None:
                raise self._elsewhere()
            if self._hasher.digest() != asked.content:
                self._disk.unlink(self._part)
                raise CorruptContent(f"{asked.path} did not come as it was sent; put it again.")
            self._file.set_mtime(asked.mtime_ns)
            self._file.sync()
            make_folders(self._disk, self._target[:-1])
            try:
                self._disk.rename(self._part, self._target)
            except FileExistsError as error:
                if not asked.overwrite or self._disk.stat(self._target).kind is not FileKind.FILE:
                    raise AlreadyThere(f"Something took the name {asked.path} meanwhile; what came is kept.") from error
                self._disk.replace(self._part, self._target)
            self._disk.sync_folder(self._target[:-1])

    def _close(self) -> None:
        with self._busy:
            self._let_go()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
