"""A folder as a member of a share: its state folder, who it is, and which share it belongs to. Blocks.

.twistedp2p/mark           says that the folder is really there, and of which share
.twistedp2p/lock           held by the process that serves the folder
.twistedp2p/key.pem        the device key
.twistedp2p/invite         the share's secret and trackers, as an invite (0600)
.twistedp2p/settings.json  what is kept between starts: `settings` tells
.twistedp2p/index.sqlite   the index
.twistedp2p/parts, trash   contents under way, and displaced ones
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from blake3 import blake3

from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Lock
from twistedp2p.errors import BadInvite, FolderUnusable, IndexUnusable, KeyUnusable, TwistedP2PError
from twistedp2p.home import write_private
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.identity.seal import item_key, seal
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.limits import TRASH_DAYS, TRASH_DAYS_MOST
from twistedp2p.peer import borrowed
from twistedp2p.peer.folder import mark
from twistedp2p.peer.index import Index
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.settings import Settings
from twistedp2p.records import FORMAT

__all__ = ["RID_BYTES", "Member"]

RID_BYTES = 8
STAMP_BYTES = 16


class Member:
    """One folder of this machine that is, or becomes, a member of a share.

    `open` takes the lock; everything else needs it. `close` lets others have the folder. Once it is open, `options`
    has what was chosen before where the person said nothing. `denied` tells why a folder can not be written to.
    """

    def __init__(
        self,
        options: PeerOptions,
        entropy: Callable[[int], bytes] = os.urandom,
        denied: Callable[[Path], OSError | None] = borrowed.why_unwritable,
    ) -> None:
        self.options = options
        self._entropy = entropy
        self._denied = denied
        self._borrowed: Path | None = None
        self.unwritable: OSError | None = None
        """Why this folder of a share can only be read; None if it can be written to."""
        self.folder = Path(os.path.realpath(options.folder))
        self.state = self.folder / ".twistedp2p"
        self.settings = Settings(self.state)
        self.disk: RealDisk
        self.key: DeviceKey
        self.invite: Invite
        self.keys: ShareKeys
        self.notice = ""
        """What was decided for a person who named no share: a sentence to say."""
        self._lock: Lock | None = None

    def open(self, own_tracker: Callable[[], TrackerAddress] | None = None) -> None:
        """Open the folder: go on with its share, join one, or begin one.

        `own_tracker` gives the address of the tracker that this process runs for a share that it begins.
        Raises a `TwistedP2PError` whose text says what to do.
        """
        options = self.options
        options.home.require_mark(self.folder)
        known = options.home.member(self.folder)
        if known is not None and known.share_id is not None and not self.folder.is_dir():
            raise FolderUnusable(f"{self.folder} is not there: is its disk not mounted?")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.disk = RealDisk(os.fsencode(self.folder))
        except OSError as error:
            raise FolderUnusable(f"{self.folder} can not be used: {error.strerror}.") from error
        try:
            mark.prepare(self.disk)
            self._lock = mark.lock(self.disk)
        except BaseException:
            self.disk.close()
            raise
        try:
            if mark.has_mark(self.disk):
                self.unwritable = self._denied(self.state)
                self._go_on()
            else:
                self._begin(own_tracker)
            if self.options.invite_file is not None:
                self._write_invite(self.options.invite_file.absolute())
            # It may be opened again: its share has begun.
            self.options = evolve(self.settings.recall(self.options), new_share=False)
            self.keys = self.invite.keys()
            self.key = self._load_key()
            if self.unwritable is None:
                self._make_sure()
            else:
                mark.require(self.disk)
            options.home.remember(self.folder, self.keys.share_id)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            self.disk.close()
        if self._borrowed is not None:
            borrowed.drop(self._borrowed)
            self._borrowed = None

    def _make_sure(self) -> None:
        """Keep what was chosen, and the mark."""
        self.settings.remember(self.options)
        mark.create(self.disk, f"twistedp2p 1 {self.keys.share_id.hex()}\n".encode())

    @property
    def durable(self) -> bool:
        """Whether what counts as held must survive a power cut; once it is open."""
        return self.options.durable is not False

    @property
    def trash_days(self) -> int:
        """How long displaced files are kept here, days; known also while it is not open."""
        days = self.settings.recall(self.options).trash_days
        return days if days is not None and 0 <= days <= TRASH_DAYS_MOST else TRASH_DAYS

    # -- which share --------------------------------------------------------

    def _go_on(self) -> None:
        """Go on with the share that the folder is a member of; an invite may bring other addresses of its trackers."""
        saved = self._saved_invite()
        asked = self.options.invite
        if self.options.new_share:
            raise FolderUnusable(f"{self.folder} is a member of a share: leave out --new-share to go on with that.")
        if asked is not None and asked.keys().share_id != saved.keys().share_id:
            raise BadInvite(f"{self.folder} is a member of another share than this invite's: use another folder.")
        if self.options.tracker is not None and self.options.tracker not in saved.trackers:
            asked = Invite(saved.secret, (self.options.tracker,), saved.portable)
        self.invite = saved if asked is None else asked
        if asked is not None and self.unwritable is None:
            self.save_invite(asked)

    def _begin(self, own_tracker: Callable[[], TrackerAddress] | None) -> None:
        """Join the share of the invite that was given, begin one, or join this person's default one."""
        options = self.options
        if options.invite is not None:
            self.save_invite(options.invite)
            return
        if options.new_share or options.tracker is not None or own_tracker is not None:
            self.save_invite(self._new_share(own_tracker))
            return
        with options.home.lock():
            default = options.home.default_invite()
            if default is not None:
                if any(name != ".twistedp2p" for name in os.listdir(self.folder)):
                    raise FolderUnusable(
                        f"{self.folder} has files and belongs to no share yet: say --join with an invite to merge it "
                        "into a share, or --new-share to begin one with it."
                    )
                self.save_invite(default)
                self.notice = "This folder belonged to no share: it joins the default one of this machine"
                return
            invite = self._new_share(own_tracker)
            self.save_invite(invite)
            options.home.set_default_invite(invite)
            self.notice = "This folder begins a new share, which is the default one of this machine from now on"

    def _new_share(self, own_tracker: Callable[[], TrackerAddress] | None) -> Invite:
        tracker = self.options.tracker
        if tracker is None:
            tracker = own_tracker() if own_tracker is not None else self.options.home.tracker_address()
        if tracker is None:
            raise TwistedP2PError(
                "No tracker is known on this machine: start one first (twistd -n tracker), or name one with "
                "--tracker HOST:PORT:PIN, or join a share with --join INVITE."
            )
        return Invite(self._entropy(SECRET_BYTES), (tracker,), self.options.portable)

    def _saved_invite(self) -> Invite:
        try:
            return Invite.parse((self.state / "invite").read_text("utf-8", errors="replace"))
        except OSError as error:
            raise FolderUnusable(
                f"The share's secret in {self.state / 'invite'} can not be read ({error.strerror}): put it back from "
                "another member with `twistedp2p invite`."
            ) from error

    def save_invite(self, invite: Invite) -> None:
        """Keep this invite."""
        self.invite = invite
        self._write_invite(self.state / "invite")

    def _write_invite(self, path: Path) -> None:
        try:
            write_private(path, self.invite.text().encode() + b"\n")
        except OSError as error:
            raise FolderUnusable(f"The invite can not be written to {path}: {error.strerror}.") from error

    # -- who it is ----------------------------------------------------------

    def _load_key(self) -> DeviceKey:
        path = self.state / "key.pem"
        try:
            return DeviceKey.load(path.read_bytes())
        except FileNotFoundError:
            return self.new_key()
        except OSError as error:
            raise KeyUnusable(
                f"The device key in {path} can not be read ({error.strerror}): make it readable, or remove it, and a "
                "new one is made."
            ) from error

    def new_key(self) -> DeviceKey:
        """Make another device key: this folder is a copy of a member's, or new."""
        self.key = DeviceKey.generate(self._entropy)
        path = self.state / "key.pem"
        try:
            write_private(path, self.key.private_pem())
        except OSError as error:
            raise KeyUnusable(f"The device key can not be written to {path}: {error.strerror}.") from error
        return self.key

    # -- the index ----------------------------------------------------------

    def open_index(self) -> Index:
        """Open this folder's index; after an accident with identity it begins anew, under a new device key.

        The index and this person's state folder outside the share have the same stamp, renewed here. An index with
        another one, or of a folder that this person's state folder does not know, was copied together with the
        folder, or restored from a backup: others may know versions of this replica that it does not.
        """
        keys = self.keys
        index = Index.open(
            str(self.state / "index.sqlite" if self.unwritable is None else self._copy_of_index()),
            seal=lambda record: seal(keys, record, FORMAT),
            key_of=item_key,
            entropy=self._entropy,
            durable=self.durable,
        )
        try:
            self._stamp(index)
        except BaseException:
            index.close()
            raise
        return index

    def _copy_of_index(self) -> Path:
        """Return where the index is that serves while the folder can only be read."""
        if self._borrowed is None:
            place = self.options.home.path / "read-only" / blake3(os.fsencode(self.folder)).hexdigest(8)
            try:
                self._borrowed = borrowed.borrow(self.state, place)
            except OSError as error:
                raise IndexUnusable(
                    f"The folder can only be read, and its index can not be copied to {place} ({error.strerror}): "
                    "make room there, or give permission to write to the folder."
                ) from error
        return self._borrowed

    def is_writable_again(self) -> bool:
        """Return whether the folder, which could only be read, can be written to now."""
        return self.unwritable is not None and self._denied(self.state) is None

    def take_back(self) -> None:
        """Put the index, closed, into the folder, which can be written to again; nothing changes if that fails."""
        if self._borrowed is None:
            return
        try:
            borrowed.give_back(self._borrowed, self.state)
        except OSError:
            return
        self._borrowed = self.unwritable = None
        self._make_sure()

    def _stamp(self, index: Index) -> None:
        keys, home = self.keys, self.options.home
        kept = home.stamp(self.folder)
        mine = (index.stamp[:STAMP_BYTES], index.stamp[STAMP_BYTES:])
        if index.share_id not in (b"", keys.share_id):
            index.reset(self._entropy(RID_BYTES))
        elif not index.fresh and kept not in mine:
            self.cloned(index)
        index.share_id = keys.share_id
        if self.unwritable is not None:
            return  # the index in the folder keeps its own
        # The index gets the new stamp beside the one kept there first, so that no number of crashes in between is an
        # accident.
        new = self._entropy(STAMP_BYTES)
        index.stamp = new + (kept or b"")
        home.set_stamp(self.folder, new)

    def cloned(self, index: Index) -> None:
        """Begin anew as another device: this folder is a copy of a member's, or its index an old one."""
        self.new_key()
        index.reset(self._entropy(RID_BYTES))

    # -- what is kept -------------------------------------------------------

    def setting(self, name: str) -> Any:
        """Return a setting kept for this folder, None if there is none."""
        return self.settings.get(name)

    def keep_setting(self, name: str, value: object) -> None:
        """Keep a setting for this folder: a port that was taken, say. Raises `FolderUnusable`."""
        self.settings.keep(name, value)
