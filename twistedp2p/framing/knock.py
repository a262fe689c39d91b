"""Who answers at an address: one TLS handshake and no word, so that nobody there takes the caller for a member.

For a person who asks why something can not be reached: each way in which it ends has a name.
"""

from __future__ import annotations

import os
import socket
from enum import Enum

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.errors import NoCommonVersion
from twistedp2p.framing.frames import NO_VERSION
from twistedp2p.framing.network import Network
from twistedp2p.limits import HANDSHAKE

__all__ = ["Answer", "Ending", "knock", "resolved"]


class Ending(Enum):
    """How far a knock came."""

    NO_ROUTE = "nobody answers"  # no TCP connection
    NO_TLS = "what answers speaks another protocol"
    NO_VERSION = "what answers speaks no version of the conversation that this one speaks"
    HEARD = "it answers"


@frozen
class Answer:
    """What a knock heard: how it ended, why (the system's words), and the public key of who answered (DER)."""

    ending: Ending
    why: str = ""
    spki: bytes = b""


def resolved(host: str) -> list[str]:
    """Return the IP addresses of a host name, or of an address itself; blocks. Raises `OSError` if it has none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def knock(network: Network, host: str, port: int, *, alpn: str) -> Deferred[Answer]:
    """Return what is heard at that IP address; within `limits.HANDSHAKE` for TCP, and as long again for TLS.

    `network` should have a key of its own: a device that is known there must not seem to be there twice.
    """
    return Deferred.fromCoroutine(_knock(network, host, port, alpn))


async def _knock(network: Network, host: str, port: int, alpn: str) -> Answer:
    knocking = _Knock(network, alpn)
    try:
        await connectProtocol(network.client(host, port, alpn=alpn), knocking)
    except (ConnectError, DNSLookupError, OSError) as error:
        return Answer(Ending.NO_ROUTE, _words(error))
    knocking.answer.addTimeout(
        HANDSHAKE, network.clock, lambda *_: knocking.give_up("it says nothing to a TLS handshake")
    )
    return await knocking.answer


@implementer(IHandshakeListener)
class _Knock(Protocol):
    """One connection, until both certificates are known; `answer` fires once."""

    def __init__(self, network: Network, alpn: str) -> None:
        self._network = network
        self._alpn = alpn
        self.answer: Deferred[Answer] = Deferred()

    def handshakeCompleted(self) -> None:
        """Note who is there, and hang up."""
        assert self.transport is not None
        try:
            channel = self._network.channel(self.transport, alpn=self._alpn, dialled=True)
            self._heard(Answer(Ending.HEARD, spki=channel.acceptor_spki))
        except NoCommonVersion as error:
            self._heard(Answer(Ending.NO_VERSION, str(error)))
        self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = Failure(ConnectError())) -> None:  # noqa: B008
        """Note that it ended before it was TLS."""
        text = str(reason.value)
        ending = Ending.NO_VERSION if NO_VERSION in text else Ending.NO_TLS
        self._heard(Answer(ending, reason.getErrorMessage()))

    def give_up(self, why: str) -> Answer:
        """Hang up; return what to say."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]
        return Answer(Ending.NO_TLS, why)

    def _heard(self, answer: Answer) -> None:
        if not self.answer.called:
            self.answer.callback(answer)


def _words(error: Exception) -> str:
    """Return the system's words for an error, without Twisted's sentence around them."""
    code = getattr(error, "osError", None)
    if isinstance(error, ConnectError) and isinstance(code, int):
        return os.strerror(code)
    return str(error).rstrip(".")
