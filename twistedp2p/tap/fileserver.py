"""``twistd -n fileserver``: options and service of the file server."""

from __future__ import annotations

import os
import sys
from typing import ClassVar

from twisted.application.service import IService
from twisted.python.usage import UsageError

from twistedp2p.disk.memory import keep_free_memory
from twistedp2p.errors import BadInvite, TwistedP2PError
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.steady import keep_steady
from twistedp2p.home import Home
from twistedp2p.identity.codes import Place
from twistedp2p.limits import FILES_PORT, MOVING_BLOCK_BYTES
from twistedp2p.tap.command_line import ServiceOptions, address, global_reactor, path
from twistedp2p.tap.starting import OneSentenceService, in_one_sentence
from twistedp2p.transfer.files.service import FileServerService, FilesKeys

__all__ = ["Options", "makeService"]


class Options(ServiceOptions):
    """Which folder is served, to whom, and where."""

    longdesc = (
        "Serves the files of a folder, over TLS, to who has its invite: `twistedp2p files`, `get`, `put`, `rm`, `mv` "
        "take it. There is one invite to read, and one to write too."
    )
    optFlags: ClassVar = [
        ["writable", None, "Let who has the invite to write put, rename and remove files."],
        ["anonymous", None, "Let anybody read who reaches the port; writing still needs an invite."],
        ["print-invite", None, "Print the invite (with --writable, the one to write) and end."],
    ]
    optParameters: ClassVar = [
        ["root", None, None, "Folder to serve.", path],
        ["advertise", None, None, "HOST[:PORT] by which clients reach this server.", address],
        ["home", None, None, "State folder, for the key and the secret (default: TWISTEDP2P_HOME).", path],
    ]

    def postOptions(self) -> None:
        """Check what the options say together; print the invite if that was asked for."""
        super().postOptions()
        if self["root"] is None:
            raise UsageError("Say which folder to serve: --root DIR.")
        self["home"] = self["home"] or Home.find(os.environ).path
        if self["print-invite"]:
            try:
                sys.stdout.write(f"{self._invite()}\n")
            except (TwistedP2PError, BadInvite) as error:
                raise UsageError(str(error)) from error
            sys.exit(0)

    def _invite(self) -> str:
        places = []
        if self["advertise"] is not None:
            advertised = Advertised.parse(self["advertise"])
            places = [Place(advertised.host, advertised.port or FILES_PORT)]
        keys = FilesKeys.keep(self["home"], self["root"])
        return keys.invite(writable=bool(self["writable"]), places=places).text()


def makeService(options: Options) -> IService:
    """Return the file server; raises `CannotStart` if the folder or the state folder can not be used."""
    keep_free_memory(MOVING_BLOCK_BYTES)
    reactor = global_reactor()
    keep_steady(reactor)
    advertise = options["advertise"]
    group = OneSentenceService()
    with in_one_sentence():
        FileServerService(
            reactor,
            options["root"],
            options["home"],
            writable=bool(options["writable"]),
            anonymous=bool(options["anonymous"]),
            listen=options["listen"],
            advertise=None if advertise is None else Advertised.parse(advertise),
        ).setServiceParent(group)
    return group
