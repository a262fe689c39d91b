"""The real file system: every name is walked from an open folder, one component at a time, following no link."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import nsmallest

from twistedp2p.disk import syscalls
from twistedp2p.disk.probe import probe
from twistedp2p.disk.seam import Abilities, FileKind, Lock, Name, NotRegular, OpenFile, OtherDevice, Space, Stat
from twistedp2p.errors import FolderUnusable

__all__ = ["RealDisk", "RealFile"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: a pipe that was swapped in for a file must not hang the thread that opens it.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MTIME_MOST = 2**63 - 1  # ns: some 292 years from 1970; the disk cuts it further to what it can store
_CAN_NOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.FOLDER, stat.S_IFLNK: FileKind.SYMLINK}


def _stat(found: os.stat_result) -> Stat:
    return Stat(
        _KINDS.get(stat.S_IFMT(found.st_mode), FileKind.OTHER),
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        stat.S_IMODE(found.st_mode),
    )


class RealFile:
    """An open regular file; made by `RealDisk`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def stat(self) -> Stat:
        """See `OpenFile.stat`."""
        return _stat(os.fstat(self._fd))

    def read_at(self, offset: int, size: int) -> bytes:
        """See `OpenFile.read_at`."""
        data = os.pread(self._fd, size, offset)
        if len(data) in (0, size):
            return data
        pieces = [data]
        got = len(data)
        while got < size and (data := os.pread(self._fd, size - got, offset + got)):
            pieces.append(data)
            got += len(data)
        return b"".join(pieces)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """See `OpenFile.write_at`."""
        done = os.pwrite(self._fd, data, offset)
        while done < len(data):
            done += os.pwrite(self._fd, memoryview(data)[done:], offset + done)

    def copy_from(self, source: OpenFile, source_offset: int, offset: int, size: int) -> int:
        """See `OpenFile.copy_from`; copy_file_range(2) shares the blocks on Btrfs and XFS."""
        done = 0
        if isinstance(source, RealFile) and hasattr(os, "copy_file_range"):
            try:
                while done < size:
                    copied = os.copy_file_range(source._fd, self._fd, size - done, source_offset + done, offset + done)
                    if not copied:
                        return done
                    done += copied
                return done
            except OSError as error:
                if error.errno not in (*_CAN_NOT, errno.EXDEV):
                    raise
        while done < size:
            data = source.read_at(source_offset + done, min(size - done, 1 << 20))
            if not data:
                break
            self.write_at(offset + done, data)
            done += len(data)
        return done

    def resize(self, size: int) -> None:
        """See `OpenFile.resize`."""
        os.ftruncate(self._fd, size)

    def set_mode(self, mode: int) -> None:
        """See `OpenFile.set_mode`."""
        os.fchmod(self._fd, mode)

    def set_mtime(self, mtime_ns: int) -> None:
        """See `OpenFile.set_mtime`."""
        kept = min(max(mtime_ns, -_MTIME_MOST), _MTIME_MOST)
        os.utime(self._fd, ns=(kept, kept))

    def sync(self) -> None:
        """See `OpenFile.sync`."""
        full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: its fsync does not reach the platters
        if full is not None:
            try:
                fcntl.fcntl(self._fd, full)
                return
            except OSError as error:
                if error.errno not in (*_CAN_NOT, errno.ENOTTY):
                    raise
        os.fsync(self._fd)

    def close(self) -> None:
        """See `OpenFile.close`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> RealFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_lock(component: bytes, folder: int) -> int:
    """Open the file of a lock, made if need be; one that can only be read can be locked as well."""
    try:
        return os.open(component, os.O_RDWR | os.O_CREAT | _FILE, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        try:
            return os.open(component, os.O_RDONLY | _FILE, dir_fd=folder)
        except OSError:
            raise error from None


class _RealLock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealDisk:
    """The folder at the path `root`; see `twistedp2p.disk.seam.Disk` for the verbs.

    Raises `FolderUnusable` if there is no folder. Threads may share it.
    """

    def __init__(self, root: bytes) -> None:
        self.root = root
        try:
            # Here, and only here, a link is followed: the user may have named the folder by one.
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FolderUnusable(
                f"The folder {os.fsdecode(root)} can not be opened ({error.strerror}); "
                "if it is on a disk that is not mounted, mount it and try again."
            ) from error
        self._device = os.fstat(self._root).st_dev

    def enter(self, folder: Name) -> RealDisk:
        """See `Disk.enter`."""
        inside = RealDisk.__new__(RealDisk)  # its folder is open already, and is not found by its path
        inside.root = os.path.join(self.root, *folder)
        inside._root = self.open_folder(folder)
        inside._device = self._device
        return inside

    def open_folder(self, name: Name) -> int:
        """Return a descriptor of the folder `name`, to be closed by the caller: for what needs one, as a watch does."""
        fd = os.dup(self._root) if not name else -1
        above = self._root
        try:
            for component in name:
                fd = os.open(component, _FOLDER, dir_fd=above)
                if above != self._root:
                    os.close(above)
                above = fd
                if os.fstat(fd).st_dev != self._device:
                    raise OtherDevice(component)
        except BaseException:
            if above != self._root:
                os.close(above)
            raise
        return fd

    def _above(self, name: Name) -> int:
        """Return a descriptor of the folder that `name` is in, to be let go of."""
        return self._root if len(name) == 1 else self.open_folder(name[:-1])

    @staticmethod
    def _let_go(name: Name, folder: int) -> None:
        if len(name) != 1:
            os.close(folder)

    def in_place(self) -> bool:
        """See `Disk.in_place`."""
        try:
            there = os.stat(self.root)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._root))

    def stat(self, name: Name) -> Stat:
        """See `Disk.stat`."""
        if not name:
            return _stat(os.fstat(self._root))
        folder = self._above(name)
        try:
            return _stat(os.stat(name[-1], dir_fd=folder, follow_symlinks=False))
        finally:
            self._let_go(name, folder)

    def entries(self, folder: Name) -> list[tuple[bytes, Stat]]:
        """See `Disk.entries`."""
        found = []
        fd = self.open_folder(folder)
        try:
            for name in os.listdir(fd):
                component = os.fsencode(name)
                try:
                    found.append((component, _stat(os.stat(component, dir_fd=fd, follow_symlinks=False))))
                except FileNotFoundError:
                    continue  # removed since it was listed
        finally:
            os.close(fd)
        found.sort(key=lambda entry: entry[0])
        return found

    def names(self, folder: Name, after: bytes, most: int, form: Callable[[bytes], bytes] = bytes) -> list[bytes]:
        """See `Disk.names`; memory is that of `most` names, however many there are."""
        formed = form(after)
        begin = (formed, after != formed, after)
        fd = self.open_folder(folder)
        try:
            with os.scandir(fd) as found:
                names = (os.fsencode(entry.name) for entry in found)
                ordered = ((key, name != key, name) for key, name in ((form(name), name) for name in names))
                return [name for _, _, name in nsmallest(most, (one for one in ordered if one > begin))]
        finally:
            os.close(fd)

    def stats(self, folder: Name, names: Sequence[bytes]) -> list[tuple[bytes, Stat]]:
        """See `Disk.stats`."""
        found = []
        fd = self.open_folder(folder)
        try:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found.append((name, _stat(os.stat(name, dir_fd=fd, follow_symlinks=False))))
        finally:
            os.close(fd)
        return found

    def open(self, name: Name) -> RealFile:
        """See `Disk.open`."""
        return self._open(name, os.O_RDONLY)

    def open_part(self, name: Name) -> RealFile:
        """See `Disk.open_part`."""
        return self._open(name, os.O_RDWR)

    def _open(self, name: Name, access: int) -> RealFile:
        if not name:
            raise NotRegular(b".", FileKind.FOLDER)
        folder = self._above(name)
        try:
            # Looked at first: to open a device may do something.
            kind = _stat(os.stat(name[-1], dir_fd=folder, follow_symlinks=False)).kind
            if kind is not FileKind.FILE:
                raise NotRegular(name[-1], kind)
            fd = os.open(name[-1], access | _FILE, dir_fd=folder)
        finally:
            self._let_go(name, folder)
        opened = RealFile(fd)
        kind = opened.stat().kind
        if kind is not FileKind.FILE:  # swapped between the look and the opening
            opened.close()
            raise NotRegular(name[-1], kind)
        return opened

    def create(self, name: Name, mode: int = 0o666) -> RealFile:
        """See `Disk.create`."""
        folder = self._above(name)
        try:
            return RealFile(os.open(name[-1], os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE, mode, dir_fd=folder))
        finally:
            self._let_go(name, folder)

    def make_folder(self, name: Name, mode: int = 0o777) -> None:
        """See `Disk.make_folder`."""
        folder = self._above(name)
        try:
            os.mkdir(name[-1], mode, dir_fd=folder)
        finally:
            self._let_go(name, folder)

    def remove_folder(self, name: Name) -> None:
        """See `Disk.remove_folder`."""
        folder = self._above(name)
        try:
            os.rmdir(name[-1], dir_fd=folder)
        finally:
            self._let_go(name, folder)

    def unlink(self, name: Name) -> None:
        """See `Disk.unlink`."""
        folder = self._above(name)
        try:
            os.unlink(name[-1], dir_fd=folder)
        finally:
            self._let_go(name, folder)

    def rename(self, source: Name, target: Name) -> None:
        """See `Disk.rename`; where the system can not rename without replacing, by a second name for the file."""
        try:
            self._rename(source, target, syscalls.RENAME_NOREPLACE)
        except OSError as error:
            if error.errno not in _CAN_NOT:
                raise
            self.link(source, target)
            self.unlink(source)

    def replace(self, source: Name, target: Name) -> None:
        """See `Disk.replace`."""
        with self._parents(source, target) as (source_folder, target_folder):
            os.rename(source[-1], target[-1], src_dir_fd=source_folder, dst_dir_fd=target_folder)

    def exchange(self, one: Name, other: Name) -> None:
        """See `Disk.exchange`."""
        self._rename(one, other, syscalls.RENAME_EXCHANGE)

    def _rename(self, source: Name, target: Name, flags: int) -> None:
        with self._parents(source, target) as (source_folder, target_folder):
            syscalls.renameat2(source_folder, source[-1], target_folder, target[-1], flags)

    @contextlib.contextmanager
    def _parents(self, source: Name, target: Name) -> Iterator[tuple[int, int]]:
        """Give descriptors of the folders of two names; it is one if they are in the same."""
        source_folder = self._above(source)
        try:
            if source[:-1] == target[:-1]:
                yield source_folder, source_folder
                return
            target_folder = self._above(target)
            try:
                yield source_folder, target_folder
            finally:
                self._let_go(target, target_folder)
        finally:
            self._let_go(source, source_folder)

    def link(self, source: Name, target: Name) -> None:
        """See `Disk.link`."""
        with self._parents(source, target) as (source_folder, target_folder):
            os.link(source[-1], target[-1], src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)

    def sync_folder(self, folder: Name) -> None:
        """See `Disk.sync_folder`."""
        fd = self.open_folder(folder)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_all(self) -> None:
        """See `Disk.sync_all`."""
        syscalls.syncfs(self._root)

    def space(self) -> Space:
        """See `Disk.space`."""
        found = os.fstatvfs(self._root)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    def now_ns(self) -> int:
        """See `Disk.now_ns`."""
        return time.time_ns()

    def lock(self, name: Name) -> Lock:
        """See `Disk.lock`: flock(2), so the kernel releases it when the process ends, however it ends."""
        folder = self._above(name)
        try:
            fd = _open_lock(name[-1], folder)
        finally:
            self._let_go(name, folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(fd)
            raise
        return _RealLock(fd)

    def probe(self, scratch: Name) -> Abilities:
        """See `Disk.probe`."""
        return probe(self, scratch)

    def close(self) -> None:
        """See `Disk.close`."""
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)
