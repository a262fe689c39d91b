"""``twistd -n echo``: options and service of the echo server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService, Service
from twisted.internet.ssl import PrivateCertificate
from twisted.logger import Logger
from twisted.python.usage import UsageError

from twistedp2p.disk.machine import raise_open_files
from twistedp2p.disk.memory import keep_free_memory
from twistedp2p.echo.crowd import Crowd
from twistedp2p.echo.service import SELF_SIGNED, EchoService, certificate_of, echo_endpoint, fingerprint_of
from twistedp2p.errors import BadAddress
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.steady import keep_steady
from twistedp2p.home import Home, kept_key
from twistedp2p.identity.device import DeviceKey
from twistedp2p.limits import ECHO_CONNECTIONS, ECHO_HELD, ECHO_IDLE, ECHO_SPARE_FILES
from twistedp2p.tap.command_line import ServiceOptions, global_reactor, path
from twistedp2p.tap.listening import check_endpoint
from twistedp2p.tap.starting import CannotStart, OneSentenceService, in_one_sentence

__all__ = ["Options", "makeService"]

_LOOPBACK = "127.0.0.1"


def _places(text: str) -> int:
    """Return a number of connections, one or more."""
    if not (text.isascii() and text.isdecimal() and int(text[:10]) > 0):
        raise UsageError(f"{text!r} is not a number of connections; write one above zero.")
    return int(text[:10])


def _patience(text: str) -> float:
    """Return a number of seconds; 0 for no end."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"{text!r} is not a number of seconds; write one above zero, or 0 for no limit.")
    return value


def _udp(text: str) -> tuple[str, int]:
    """Return interface and port of PORT or HOST:PORT."""
    written = f"{_LOOPBACK}:{text}" if text.isdecimal() else text
    try:
        # 0 is a port to listen on: any free one.
        where = Advertised.parse(written.removesuffix(":0") if written.endswith(":0") else written)
    except BadAddress as error:
        raise UsageError(f"--udp {text!r} is no PORT or HOST:PORT; write it like 17007 or 0.0.0.0:17007.") from error
    if where.port is None and not written.endswith(":0"):
        raise UsageError(f"--udp {text!r} names no port; write it like 17007 or 0.0.0.0:17007.")
    return where.host, where.port or 0


class Options(ServiceOptions):
    """Where the echo server listens, and how many it serves."""

    longdesc = (
        "Sends back every byte it receives, at the pace of the reader. SIGUSR2 has it log what it counted. "
        "--listen self-signed:PORT is TCP with TLS and a certificate that is made at the first start, and kept."
    )
    # An echo server answers anybody, so only this machine can reach it unless told otherwise.
    default_listen: ClassVar[tuple[str, ...]] = (f"tcp:17007:interface={_LOOPBACK}",)
    optParameters: ClassVar = [
        ["connections", None, ECHO_CONNECTIONS, "Connections at once; further callers wait.", _places],
        ["per-address", None, None, "Connections at once from one address (default: as many as in all).", _places],
        ["idle", None, ECHO_IDLE, "Seconds without a byte after which a connection is closed; 0: never.", _patience],
        ["home", None, None, "State folder, for the key of self-signed (default: TWISTEDP2P_HOME).", path],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["udp"] = []

    def opt_udp(self, where: str) -> None:
        """Echo datagrams on [HOST:]PORT too, on this machine only unless HOST says otherwise; may repeat."""
        self["udp"].append(_udp(where))

    def postOptions(self) -> None:
        """Fill in what was not said."""
        super().postOptions()
        self["home"] = self["home"] or Home.find(os.environ).path

    def listens_by_default(self) -> list[str]:
        """Return the usual port; nothing if UDP was asked for."""
        return [] if self["udp"] else super().listens_by_default()

    def check_listen(self, text: str) -> None:
        """Raise UsageError unless `text` is an endpoint of ours, or of Twisted's."""
        if text.startswith(SELF_SIGNED):
            try:
                echo_endpoint(global_reactor(), text, lambda: certificate_of(DeviceKey.generate()))
            except (ValueError, TypeError) as error:
                raise UsageError(
                    f"--listen {text!r} is not an endpoint to listen on ({error}); write it like self-signed:17007."
                ) from error
        else:
            check_endpoint(text, global_reactor())


class _OnSignal(Service):
    """Does something when a signal comes, while it runs."""

    def __init__(self, reactor: Any, number: int, act: Callable[[], object]) -> None:
        self._reactor = reactor
        self._number = number
        self._act = act
        self._before: Any = None

    def startService(self) -> None:
        """Listen to the signal."""
        super().startService()
        self._before = signal.signal(self._number, lambda *_: self._reactor.callFromThread(self._act))

    def stopService(self) -> None:
        """Have it mean what it meant before."""
        super().stopService()
        signal.signal(self._number, self._before)


def _room_for(wanted: int) -> int:
    """Return how many connections this process can have at once, up to `wanted`; says so if they are fewer."""
    spare = ECHO_SPARE_FILES + ECHO_HELD
    files = raise_open_files(wanted + spare)
    room = min(wanted, files - spare)
    if room < 1:
        raise CannotStart(
            f"This process may have {files:,} files open, which leaves none for clients; raise `ulimit -n`."
        )
    if room < wanted:
        Logger("twistedp2p.tap.echo").warn(
            "This process may have {files} files open, so it serves {room} connections at once and not {wanted}; "
            "further callers wait. Raise the hard limit (`ulimit -Hn`, LimitNOFILE=) for more.",
            files=f"{files:,}",
            room=f"{room:,}",
            wanted=f"{wanted:,}",
        )
    return room


def _self_made(home: Path, text: str) -> PrivateCertificate:
    """Return the kept certificate, and log its fingerprint."""
    certificate = certificate_of(kept_key(home / "echo" / "key.pem", "echo server"))
    Logger("twistedp2p.tap.echo").info(
        "The certificate of {text} has the SHA-256 fingerprint {fingerprint}",
        text=text,
        fingerprint=fingerprint_of(certificate),
    )
    return certificate


def makeService(options: Options) -> IService:
    """Return the service that echoes on every endpoint of `options`."""
    reactor: Any = global_reactor()
    keep_steady(reactor)
    keep_free_memory()
    group = OneSentenceService()
    with in_one_sentence():
        self_made = cache(lambda: _self_made(options["home"], "self-signed"))
        endpoints = [echo_endpoint(reactor, text, self_made) for text in options["listen"]]
        crowd = Crowd(
            clock=reactor,
            most=_room_for(options["connections"]),
            per_address=options["per-address"],
            idle=options["idle"] or None,
        )
        service = EchoService(reactor, endpoints, options["udp"], crowd)
    service.setServiceParent(group)
    _OnSignal(reactor, signal.SIGUSR2, service.say_counters).setServiceParent(group)
    return group
