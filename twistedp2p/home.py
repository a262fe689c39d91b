"""The state folder of a person: what all peers and trackers on this machine know together.

    tracker/        key and address of the tracker; `tracker.service` writes them
    invite          the default invite, for a peer that names no share (0600)
    folders.json    the folders that are members here, with the share, the mark and the stamp of each
    files/          keys of file servers, and the one of receivers (0600)
    sockets/        control sockets of `twistedp2p run`, and of folders whose own path is too long for one
    run.lock        held by the process that serves all folders
    lock            held while `folders.json` is changed

It is TWISTEDP2P_HOME, else what the platform has for this. Several processes use it at once: files are
replaced whole, and changed under the lock. All of it blocks shortly: a few small files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import platformdirs
from attrs import evolve, frozen
from blake3 import blake3

from twistedp2p.errors import BadInvite, FolderBusy, FolderUnusable, HomeUnusable
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.limits import SOCKET_PATH_BYTES, STOP_LOOK

__all__ = ["Home", "Member", "kept_key", "locked", "write_private"]

_STATE = ".twistedp2p"
_FORMAT = 1
_TEMPORARY = "/tmp/twistedp2p-"  # noqa: S108  # checked to be ours


@frozen
class Member:
    """A folder that is a member of a share here, or was."""

    folder: Path
    """Its real path."""
    share_id: bytes | None = None
    """The share, 20 bytes; None if only the stamp is known."""
    mark: tuple[int, int] | None = None
    """Device and inode of its mark: a folder that was renamed keeps them, a copy does not."""
    stamp: bytes | None = None
    """What the folder's index was stamped with last: an index with another one is a copy, or was restored."""


def _socket_inside(folder: Path) -> str | None:
    """Return the path of a control socket in `folder`; None if it is too long for one."""
    inside = os.path.join(_real(folder), _STATE, "control.sock")
    return inside if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES else None


def _socket_name(folder: Path) -> str:
    """Return the name of the control socket of `folder` where all of them lie in one place."""
    return f"{blake3(os.fsencode(_real(folder))).hexdigest(8)}.sock"


def write_private(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data` (mode 0600), whole or not at all; durable when it returns.

    Raises OSError. A symbolic link at `path` is replaced, not followed.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def kept_key(file: Path, whose: str, entropy: Callable[[int], bytes] = os.urandom) -> DeviceKey:
    """Return the device key kept in `file` (0600), which is in a folder of the home; made at the first start.

    Raises `KeyUnusable` if the file is damaged, `HomeUnusable` if it can not be read or written.
    """
    try:
        try:
            return DeviceKey.load(file.read_bytes())
        except FileNotFoundError:
            key = DeviceKey.generate(entropy)
            file.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(file, key.private_pem())
            return key
    except OSError as error:
        raise HomeUnusable(f"The {whose}'s key can not be kept in {file} ({error}); name another --home.") from error


def locked(handle: int, patience: float = 0.0) -> bool:
    """Lock an open file, as flock(2) does, and return whether that was possible; blocks up to `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(STOP_LOOK)
        else:
            return True


class Home:
    """The state folder at `path`; made, private to its owner, when something is first kept in it.

    Every method raises `HomeUnusable` if the files can not be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Home:
        """Return the home that `environ` names as TWISTEDP2P_HOME, else the platform's usual place."""
        named = environ.get("TWISTEDP2P_HOME")
        return cls(Path(named) if named else platformdirs.user_state_path("twistedp2p", appauthor=False))

    # -- folders ------------------------------------------------------------

    def members(self) -> list[Member]:
        """Return the folders that are members here, also those that are not there now, sorted by path."""
        return [member for _, member in sorted(self._read().items()) if member.share_id is not None]

    def member(self, folder: Path) -> Member | None:
        """Return what is known of `folder`, also if it was renamed since; None if that is nothing."""
        return _find(self._read(), folder)

    def require_mark(self, folder: Path) -> None:
        """Raise `FolderUnusable` if `folder` is a member here but has no mark: its disk may not be mounted."""
        member = self.member(folder)
        # A folder that was renamed has its mark at the new path.
        if member is not None and member.share_id is not None and _mark_of(Path(_real(folder))) is None:
            raise FolderUnusable(
                f"{member.folder} is a member of a share, but {_STATE}/mark is not in it: is its disk not mounted? "
                "Mount it and try again, or use another folder."
            )

    def remember(self, folder: Path, share_id: bytes) -> None:
        """Keep that `folder`, which has its mark, is a member of the share `share_id` (20 bytes)."""

        def change(member: Member) -> Member:
            return evolve(member, share_id=share_id, mark=_mark_of(member.folder))

        self._change(folder, change)

    def forget(self, folder: Path) -> None:
        """Keep nothing of `folder` any longer: it left its share."""
        with self.lock():
            members = self._read()
            member = _find(members, folder)
            if member is not None:
                del members[str(member.folder)]
                self._write(members)

    def forget_share(self, share_id: bytes) -> None:
        """Keep the default invite no longer if it is one of this share and no folder here is a member of it."""
        with self.lock():
            default = self.default_invite()
            others = any(member.share_id == share_id for member in self._read().values())
            if default is not None and default.keys().share_id == share_id and not others:
                with self._usable():
                    (self.path / "invite").unlink(missing_ok=True)

    def stamp(self, folder: Path) -> bytes | None:
        """Return the stamp kept for `folder`; None if there is none, as for a copy of a member."""
        member = self.member(folder)
        return member.stamp if member is not None else None

    def set_stamp(self, folder: Path, stamp: bytes) -> None:
        """Keep `stamp` for `folder`; durable when it returns."""
        self._change(folder, lambda member: evolve(member, stamp=stamp))

    # -- default share and tracker --------------------------------------------

    def default_invite(self) -> Invite | None:
        """Return the invite for a peer that names no share; None if there is none yet."""
        text = self._read_text(self.path / "invite")
        if text is None:
            return None
        try:
            return Invite.parse(text)
        except BadInvite as error:
            raise HomeUnusable(f"{self.path / 'invite'} is damaged; remove it, and use --join. {error}") from error

    def set_default_invite(self, invite: Invite) -> None:
        """Keep `invite` as the default one. To keep the first of several, look and set within `lock`."""
        with self._usable():
            self._make(self.path)
            write_private(self.path / "invite", f"{invite.text()}\n".encode())

    def tracker_address(self) -> TrackerAddress | None:
        """Return where this person's own tracker listens, or listened last; None if there was none."""
        file = self.path / "tracker" / "address"
        text = self._read_text(file)
        if text is None:
            return None
        try:
            return TrackerAddress.parse(text)
        except BadInvite as error:
            raise HomeUnusable(f"{file} is damaged; remove it and start the tracker again.") from error

    # -- control sockets ------------------------------------------------------

    def control_socket(self, folder: Path) -> str:
        """Return the path of the socket on which the peer that serves `folder` answers, for whoever asks it.

        It is in the folder itself, unless its path is too long for a socket, or the folder could not be written to
        when that peer began; then in this home, else in a private folder of /tmp. Raises `HomeUnusable` if somebody
        else has that folder of /tmp.
        """
        inside, name = _socket_inside(folder), _socket_name(folder)
        return inside if inside is not None and not os.path.lexists(self._socket_path(name)) else self._socket(name)

    def new_control_socket(self, folder: Path, *, writable: bool) -> str:
        """Return the path of the socket on which a peer is to answer that begins to serve `folder`.

        `writable`: the folder can be written to. What a peer left elsewhere that was killed is removed then: nobody
        may ask there. Raises as `control_socket` does.
        """
        inside, name = _socket_inside(folder), _socket_name(folder)
        if inside is None or not writable:
            return self._socket(name)
        for left in (self._socket_path(name), f"{self._socket_path(name)}.lock"):
            with self._usable(), contextlib.suppress(FileNotFoundError):
                os.unlink(left)
        return inside

    def run_socket(self) -> str:
        """Return the path of the socket on which `twistedp2p run` answers; raises as `control_socket` does."""
        return self._socket(f"run-{blake3(os.fsencode(self.path)).hexdigest(8)}.sock")

    def _socket(self, name: str) -> str:
        """Return the path of a socket outside of any shared folder, in a folder that is made, and ours."""
        path = self._socket_path(name)
        if path.startswith(_TEMPORARY):
            _private_temporary(os.path.dirname(path))
        else:
            with self._usable():
                self._make(Path(path).parent)
        return path

    def _socket_path(self, name: str) -> str:
        here = str(self.path / "sockets" / name)
        if len(os.fsencode(here)) <= SOCKET_PATH_BYTES:
            return here
        # Not XDG_RUNTIME_DIR: the peer may run as a service, where it is another one than in a shell.
        return f"{_TEMPORARY}{os.geteuid()}/{name}"

    # -- one process for all folders ------------------------------------------

    @contextlib.contextmanager
    def running(self, patience: float = 0.0) -> Iterator[None]:
        """Be the one process that serves all folders of this person; waits up to `patience` seconds for another one.

        Raises `FolderBusy` if that goes on.
        """
        with self._usable():
            self._make(self.path)
            handle = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not locked(handle, patience):
                raise FolderBusy(f"`twistedp2p run` serves the folders of {self.path} already: stop that one first.")
            yield
        finally:
            os.close(handle)

    # -- files ----------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes and threads from changing this home meanwhile.

        `remember`, `forget`, `forget_share` and `set_stamp` take it themselves: to call them within it would wait for
        ever.
        """
        with self._usable():
            self._make(self.path)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with self._usable():
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _change(self, folder: Path, change: Callable[[Member], Member]) -> None:
        """Replace what is known of `folder` by what `change` makes of it; a renamed folder gets its new path."""
        with self.lock():
            members = self._read()
            old = _find(members, folder)
            real = _real(folder)
            if old is not None:
                del members[str(old.folder)]
            members[real] = change(Member(Path(real)) if old is None else evolve(old, folder=Path(real)))
            self._write(members)

    def _read(self) -> dict[str, Member]:
        file = self.path / "folders.json"
        text = self._read_text(file)
        if text is None:
            return {}
        try:
            return _members_from_json(text)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise HomeUnusable(
                f"{file} is damaged, or of another version of twistedp2p. Move it away, and the folders here are "
                "looked at anew: no file is lost."
            ) from error

    def _write(self, members: Mapping[str, Member]) -> None:
        with self._usable():
            write_private(self.path / "folders.json", _members_to_json(members).encode())

    def _read_text(self, file: Path) -> str | None:
        with self._usable():
            try:
                return file.read_text("utf-8", errors="replace")
            except (FileNotFoundError, NotADirectoryError):
                return None

    def _make(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HomeUnusable(
                f"The state folder {self.path} can not be used ({error.strerror}); "
                "name another one with --home or TWISTEDP2P_HOME."
            ) from error


def _real(folder: Path) -> str:
    return os.path.realpath(folder)


def _mark_of(folder: Path) -> tuple[int, int] | None:
    """Return device and inode of the mark in `folder`; None if it has none."""
    try:
        stat = os.lstat(folder / _STATE / "mark")
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _find(members: Mapping[str, Member], folder: Path) -> Member | None:
    """Return the entry of `folder`: by its path, else the one whose mark went there by a rename.

    The path comes first, because the number of a device may be another one after a restart of the machine.
    """
    real = _real(folder)
    if real in members:
        return members[real]
    mark = _mark_of(Path(real))
    if mark is None:
        return None
    return next((m for m in members.values() if m.mark == mark and _mark_of(m.folder) is None), None)


def _members_to_json(members: Mapping[str, Member]) -> str:
    # A path that is not UTF-8 has surrogates in it, which JSON escapes.
    folders = {
        real: {
            "share": member.share_id.hex() if member.share_id is not None else None,
            "mark": member.mark,
            "stamp": member.stamp.hex() if member.stamp is not None else None,
        }
        for real, member in members.items()
    }
    return json.dumps({"version": _FORMAT, "folders": folders}, indent=1, sort_keys=True)


def _members_from_json(text: str) -> dict[str, Member]:
    data = json.loads(text)
    if data["version"] != _FORMAT:
        raise ValueError("another version")
    members = {}
    for real, kept in data["folders"].items():
        share, mark, stamp = kept["share"], kept["mark"], kept["stamp"]
        members[real] = Member(
            Path(real),
            bytes.fromhex(share) if share is not None else None,
            (int(mark[0]), int(mark[1])) if mark is not None else None,
            bytes.fromhex(stamp) if stamp is not None else None,
        )
    return members


def _private_temporary(path: str) -> Path:
    """Return the folder at `path`, made if it is missing; raises `HomeUnusable` unless it is ours alone."""
    with contextlib.suppress(OSError):
        os.mkdir(path, 0o700)
    try:
        stat = os.lstat(path)
    except OSError as error:
        raise HomeUnusable(f"{path} can not be made ({error.strerror}); use a folder with a shorter path.") from error
    if stat.st_uid != os.geteuid() or stat.st_mode & 0o170077 != 0o040000:
        raise HomeUnusable(f"{path} belongs to somebody else, or others may use it; remove it and try again.")
    return Path(path)
