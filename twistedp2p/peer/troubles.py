"""What went wrong, as a stable code and one sentence that says what to do: from the system's errors and ours. Pure."""

from __future__ import annotations

import errno
from enum import Enum

from attrs import frozen

from twistedp2p.errors import FolderUnusable, NoSpace, TooLarge, TwistedP2PError

__all__ = ["Code", "Trouble", "trouble_of"]


class Code(str, Enum):
    """Why a path is not in sync, or what is wrong with a peer; stable, for scripts.

    docs/running.md has the table of them; `reasons` decides which one is true of a path.
    """

    IN_SYNC = "in-sync"
    UNKNOWN_PATH = "unknown-path"
    PAUSED = "paused"
    FOLDER_UNUSABLE = "folder-unusable"
    NAME_NOT_SHARED = "name-not-shared"
    KIND_NOT_SHARED = "kind-not-shared"
    OTHER_DISK = "other-disk"
    IGNORED = "ignored"
    TOO_LARGE = "too-large"
    UNREADABLE = "unreadable"
    NOT_READ_YET = "not-read-yet"
    CHANGING = "changing"
    WAITING_QUIET = "waiting-quiet"
    SECOND_LOOK = "second-look"
    NO_TRACKER = "no-tracker"
    NOT_CAUGHT_UP = "not-caught-up"
    NOT_ANNOUNCED = "not-announced"
    FETCHING = "fetching"
    QUEUED = "queued"
    NO_HOLDER = "no-holder"
    UNREACHABLE = "unreachable"
    HOLDER_INCOMPATIBLE = "holder-incompatible"
    NO_SPACE = "no-space"
    NO_PERMISSION = "no-permission"
    READ_ONLY = "read-only"
    OBSTRUCTED = "obstructed"
    PROGRAM_WRITING = "program-writing"
    TOO_MANY_FILES = "too-many-files"
    TOO_MANY_WATCHES = "too-many-watches"
    DISK_FAILING = "disk-failing"
    CLOCK = "clock"
    ERROR = "error"


_GENERAL = frozenset({Code.NO_SPACE, Code.READ_ONLY, Code.TOO_MANY_FILES, Code.DISK_FAILING, Code.FOLDER_UNUSABLE})


@frozen
class Trouble:
    """What is wrong: a code for scripts, and a sentence for a person that says what to do."""

    code: Code
    text: str

    @property
    def general(self) -> bool:
        """Whether it is no matter of one path: it is said once, whatever the number of paths that wait for it."""
        return self.code in _GENERAL


_OWN = ((NoSpace, Code.NO_SPACE), (FolderUnusable, Code.FOLDER_UNUSABLE), (TooLarge, Code.TOO_LARGE))

_FULL = Trouble(Code.NO_SPACE, "The disk of the shared folder is full: make room, and it goes on by itself.")

_NOT_OF_THE_FOLDER = (errno.EMFILE, errno.ENFILE, errno.EIO)

_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: Trouble(
        Code.NO_SPACE, "Your quota on the disk is used up: make room or have it raised, and it goes on by itself."
    ),
    errno.EROFS: Trouble(
        Code.READ_ONLY, "The disk is read-only: mount it for writing (mount -o remount,rw), and it goes on by itself."
    ),
    errno.EMFILE: Trouble(
        Code.TOO_MANY_FILES,
        "Too many files are open in this process: raise its limit (ulimit -n, or LimitNOFILE= of a service) and "
        "start it again; it is tried again by itself until then.",
    ),
    errno.ENFILE: Trouble(
        Code.TOO_MANY_FILES,
        "Too many files are open on this machine: close programs, or raise fs.file-max with sysctl, and it goes on "
        "by itself.",
    ),
    errno.EIO: Trouble(
        Code.DISK_FAILING, "The disk reports an error of its own: look at it (dmesg, smartctl) before you trust it."
    ),
    errno.EFBIG: Trouble(
        Code.TOO_LARGE, "The disk takes no file of this size: move the shared folder to another file system."
    ),
    errno.ENAMETOOLONG: Trouble(
        Code.NAME_NOT_SHARED, "Its name is too long for the disk: rename it on a machine that has it."
    ),
}


def trouble_of(error: BaseException | None, path: str = "", *, reading: bool = False) -> Trouble:
    """Return what to tell a person of `error`, which came up for `path` (empty: for no single one).

    `reading`: it was to be read, else written.
    """
    if isinstance(error, OSError):
        return _of_system(error, path, reading)
    if isinstance(error, TwistedP2PError):
        cause = error.__cause__
        if isinstance(error, FolderUnusable) and isinstance(cause, OSError) and cause.errno in _NOT_OF_THE_FOLDER:
            return _of_system(cause, path, reading)
        code = next((code for cls, code in _OWN if isinstance(error, cls)), Code.ERROR)
        return Trouble(code, str(error) or f"It failed ({error.code}); it is tried again.")
    return Trouble(Code.ERROR, "It failed by a fault of this program, which the log tells more of; it is tried again.")


def _of_system(error: OSError, path: str, reading: bool) -> Trouble:
    known = _SYSTEM.get(error.errno or 0)
    if known is not None:
        return known
    if error.errno in (errno.EACCES, errno.EPERM):
        return _forbidden(error, path, reading)
    why = error.strerror or str(error) or "the system does not say why"
    if reading:
        return Trouble(Code.UNREADABLE, f"It can not be read ({why}); it is tried again.")
    return Trouble(Code.ERROR, f"It can not be written ({why}); it is tried again.")


def _forbidden(error: OSError, path: str, reading: bool) -> Trouble:
    if reading:
        return Trouble(
            Code.UNREADABLE,
            "There is no permission to read it: give it to the user that runs twistedp2p (chmod u+r, for a folder "
            "u+rx), and it is shared by itself.",
        )
    folder = path.rpartition("/")[0]
    where = f"The folder {folder}" if folder else "The shared folder"
    if error.errno == errno.EPERM:
        return Trouble(
            Code.NO_PERMISSION,
            f"The system forbids the change in {where[0].lower()}{where[1:]}: is something there protected "
            "(lsattr, chattr -i)? It is tried again.",
        )
    return Trouble(
        Code.NO_PERMISSION,
        f"{where} can not be written to: give the user that runs twistedp2p permission (chmod u+rwx), and it goes "
        "on by itself.",
    )
