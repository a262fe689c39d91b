"""``twistd -n echo``: options and service of the echo server."""

from __future__ import annotations

from typing import ClassVar

from twisted.application.service import IService

from twistedp2p.echo import EchoFactory
from twistedp2p.tap.command_line import ServiceOptions, global_reactor
from twistedp2p.tap.listening import listening

__all__ = ["Options", "makeService"]


class Options(ServiceOptions):
    """Where the echo server listens."""

    longdesc = "Sends back every byte it receives, at the pace of the reader."
    # An echo server answers anybody, so only this machine can reach it unless told otherwise.
    default_listen: ClassVar[tuple[str, ...]] = ("tcp:17007:interface=127.0.0.1",)


def makeService(options: Options) -> IService:
    """Return the service that echoes on every endpoint of `options`."""
    return listening(options["listen"], EchoFactory, global_reactor())
