"""``twistd -n peer``: options and service of a peer."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, TextIO

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.usage import UsageError

from twistedp2p.disk.memory import give_back_memory
from twistedp2p.errors import BadInvite
from twistedp2p.framing.steady import keep_steady
from twistedp2p.home import Home
from twistedp2p.identity.given import INVITE_VARIABLE, given_invite
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.limits import NAME_CHARS, TRASH_DAYS, TRASH_DAYS_MOST
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.service import PeerService
from twistedp2p.tap.command_line import ServiceOptions, address, global_reactor, one_of, path
from twistedp2p.tap.starting import BeginningService, OneSentenceService, exit_with_status_1
from twistedp2p.web.api import ControlService

__all__ = ["Options", "makeService"]


def _tracker(text: str) -> TrackerAddress:
    """Return the tracker of --tracker, HOST:PORT:PIN."""
    try:
        return TrackerAddress.parse(text)
    except BadInvite as error:
        raise UsageError(str(error)) from error


def _name(text: str) -> str:
    """Return the display name of --name."""
    if not 0 < len(text) <= NAME_CHARS or not text.isprintable():
        raise UsageError(f"A name has 1 to {NAME_CHARS} printable characters; choose another one with --name.")
    return text


def _days(text: str) -> int:
    """Return the days of --trash-days."""
    if not (text.isdecimal() and int(text) <= TRASH_DAYS_MOST):
        raise UsageError(f"{text!r} is not a number of days from 0 to {TRASH_DAYS_MOST}.")
    return int(text)


class Options(ServiceOptions):
    """Which folder the peer shares, with whom, and how others reach it.

    `environ` and `stdin` are where an invite may come from besides the command line, which
    other users of the machine can read.
    """

    longdesc = (
        "Shares a folder with the other members of a share. The invite that --join takes need not be on the "
        "command line, where others can see it: '-' reads it from standard input, '@FILE' from a file, and "
        f"without --join it is taken from {INVITE_VARIABLE} if that is set."
    )
    optFlags: ClassVar = [
        ["new-share", None, "Begin a new share with this folder."],
        ["defaults", None, "Forget what was chosen for this folder before."],
    ]
    optParameters: ClassVar = [
        ["folder", None, None, "Folder to share (default: ./shared).", path],
        ["join", None, None, "Invite to a share, '-' or '@FILE'."],
        ["tracker", None, None, "HOST:PORT:PIN of the tracker for a new share.", _tracker],
        ["advertise", None, None, "HOST[:PORT] by which other peers reach this one.", address],
        ["name", None, None, "Name of this peer in listings.", _name],
        ["names", None, None, "File names of a new share: posix (default) or portable.", one_of("posix", "portable")],
        ["durability", None, None, "durable (default) or relaxed.", one_of("durable", "relaxed")],
        ["home", None, None, "State folder (default: TWISTEDP2P_HOME).", path],
        ["trash-days", None, None, f"Days that displaced files are kept (default: {TRASH_DAYS}).", _days],
        ["invite-file", None, None, "File to write the invite to (mode 0600).", path],
    ]

    def __init__(self, environ: Mapping[str, str] = os.environ, stdin: TextIO | None = None) -> None:
        super().__init__()
        self._environ = environ
        self._stdin = stdin

    def postOptions(self) -> None:
        """Fetch the invite, and check what the options say together."""
        super().postOptions()
        source, written = "--join", self["join"]
        if written is None:
            source, written = INVITE_VARIABLE, self._environ.get(INVITE_VARIABLE) or None
        # What shows these options does not show the secret.
        self["join"] = None
        if written is not None:
            for other in ("tracker", "new-share"):
                if self[other]:
                    raise UsageError(
                        f"{source} joins the share of an invite and --{other} begins a new one; leave one of them out."
                    )
        self["invite"] = None if written is None else self._invite(written, source)
        if self["invite"] is not None and self["names"] not in (None, _names_of(self["invite"])):
            raise UsageError(f"The names of this share are {_names_of(self['invite'])}; leave --names out.")
        self["folder"] = self["folder"] or path("shared")
        self["home"] = self["home"] or Home.find(self._environ).path

    def peer_options(self) -> PeerOptions:
        """Return what was said, as the peer takes it."""
        return PeerOptions(
            folder=self["folder"],
            home=Home(self["home"]),
            invite=self["invite"],
            new_share=bool(self["new-share"]),
            tracker=self["tracker"],
            portable=self["names"] == "portable",
            listen=tuple(self["listen"]),
            advertise=self["advertise"],
            name=self["name"],
            durable=None if self["durability"] is None else self["durability"] == "durable",
            invite_file=self["invite-file"],
            defaults=bool(self["defaults"]),
            trash_days=self["trash-days"],
        )

    def _invite(self, written: str, source: str) -> Invite:
        """Return the invite that is `written`, or that is where `written` says."""
        try:
            return given_invite(written, sys.stdin if self._stdin is None else self._stdin)
        except BadInvite as error:
            raise UsageError(f"The invite of {source} can not be used. {error}") from error


def _names_of(invite: Invite) -> str:
    """Return the word for the names that the share of `invite` allows."""
    return "portable" if invite.portable else "posix"


def makeService(options: Options) -> IService:
    """Return the service that shares the folder of `options`."""
    reactor: Any = global_reactor()
    keep_steady(reactor)
    give_back_memory()
    peer = PeerService(reactor, options.peer_options())
    peer.stopped = reactor.stop

    control: list[ControlService] = []

    async def begin() -> None:
        peer.prepare()
        await peer.start()
        writable = peer.member.unwritable is None
        socket = Home(options["home"]).new_control_socket(peer.member.folder, writable=writable)
        control.append(ControlService(reactor, reactor, peer, socket))
        control[0].startService()

    async def end() -> None:
        for service in control:
            await maybeDeferred(service.stopService)
        await peer.stopService()

    group = OneSentenceService()
    BeginningService(
        lambda: Deferred.fromCoroutine(begin()), lambda: Deferred.fromCoroutine(end()), reactor, exit_with_status_1
    ).setServiceParent(group)
    return group
