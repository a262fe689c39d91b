"""``twistd -n tracker``: options and service of the tracker."""

from __future__ import annotations

import os
from typing import ClassVar

from twisted.application.service import IService
from twisted.python.usage import UsageError

from twistedp2p.disk.memory import give_back_memory
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.steady import keep_steady
from twistedp2p.home import Home
from twistedp2p.limits import EXPIRY, KEEPALIVE
from twistedp2p.tap.command_line import ServiceOptions, address, global_reactor, path, seconds
from twistedp2p.tap.starting import OneSentenceService, in_one_sentence
from twistedp2p.tracker.service import TrackerService

__all__ = ["Options", "makeService"]


class Options(ServiceOptions):
    """Where the tracker listens, where it keeps its key, and how patient it is."""

    longdesc = "Knows which peers are alive and what each of them holds; it has no content and reads no names."
    optParameters: ClassVar = [
        ["home", None, None, "State folder, for the key and the address (default: TWISTEDP2P_HOME).", path],
        ["keepalive", None, KEEPALIVE, "Seconds between a peer's signs of life.", seconds],
        ["expiry", None, EXPIRY, "Seconds of silence after which a peer is forgotten.", seconds],
        ["advertise", None, None, "HOST[:PORT] by which peers reach this tracker.", address],
    ]

    def postOptions(self) -> None:
        """Check what the options say together, and find the state folder."""
        super().postOptions()
        if self["expiry"] <= self["keepalive"]:
            raise UsageError("--expiry must be longer than --keepalive, or live peers are forgotten; raise it.")
        self["home"] = self["home"] or Home.find(os.environ).path


def makeService(options: Options) -> IService:
    """Return the tracker's service; raises `CannotStart` if the state folder can not be used."""
    advertise = options["advertise"]
    reactor = global_reactor()
    keep_steady(reactor)
    give_back_memory()
    group = OneSentenceService()
    with in_one_sentence():
        tracker = TrackerService(
            home=options["home"],
            reactor=reactor,
            listen=options["listen"],
            keepalive=options["keepalive"],
            expiry=options["expiry"],
            advertise=None if advertise is None else Advertised.parse(advertise),
        )
    tracker.setServiceParent(group)
    return group
