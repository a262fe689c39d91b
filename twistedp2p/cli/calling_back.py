"""The way to a sender through its tracker: hear where it is, dial that, or let it dial this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.cli.sending import own_addresses
from twistedp2p.errors import Unreachable
from twistedp2p.framing.admission import Admission
from twistedp2p.framing.network import FILES_ALPN, Network
from twistedp2p.identity.files_code import SendCode
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.tracker.meeting import Meeting
from twistedp2p.transfer.files.client import Make

__all__ = ["TrackerWay"]

_PATIENCE = limits.HANDSHAKE + limits.DIAL_ME_WAIT
"""Seconds until a sender that was not met, or could not be reached by then, counts as not there."""


class TrackerWay:
    """A `Way` of a `FilesClient`; `network` is set by who makes the client.

    Args:
        code: of the sender; names its tracker.
        entropy: random bytes.
        random: floats from 0 to 1.
    """

    def __init__(self, code: SendCode, entropy: Callable[[int], bytes], random: Callable[[], float]) -> None:
        assert code.tracker is not None
        self.network: Network | None = None
        self._code = code
        self._tracker = code.tracker
        self._entropy = entropy
        self._random = random

    def __call__(self, make: Make) -> Deferred[Any]:
        """Go: the Deferred fires never, fails when it leads nowhere, and is cancelled when it is not needed."""
        assert self.network is not None
        attempt = _Attempt(self.network, self._code, make)
        return attempt.begin(self._tracker, self._entropy, self._random)


class _Attempt:
    """One time of going there."""

    def __init__(self, network: Network, code: SendCode, make: Make) -> None:
        self._network = network
        self._code = code
        self._make = make
        self._meeting: Meeting | None = None
        self._port: IListeningPort | None = None
        self._trouble = "the sender is not there"
        self._asked = False
        self._calls: list[Any] = []
        self._result: Deferred[Any] = Deferred(lambda _: self._end())

    def begin(self, tracker: Any, entropy: Callable[[int], bytes], random: Callable[[], float]) -> Deferred[Any]:
        """Listen for the sender's call, and go to the tracker."""
        self._calls.append(self._network.clock.callLater(_PATIENCE, self._fail))
        listening = self._network.listen("tcp6:0:interface=\\:\\:", _Calls(self._make), alpn=FILES_ALPN)
        listening.addErrback(lambda _: self._network.listen("tcp:0", _Calls(self._make), alpn=FILES_ALPN))

        def listens(port: IListeningPort) -> None:
            self._port = port
            if self._result.called:
                self._end()
                return
            number = port.getHost().port  # type: ignore[attr-defined]  # it has a port: it is no UNIX socket
            self._meeting = Meeting(
                self._network,
                tracker,
                self._code.keys(),
                addresses=[Address(host, number) for host in own_addresses()],
                name=os.uname().nodename[: limits.NAME_CHARS],
                random=random,
                entropy=entropy,
                came=self._came,
                trouble=self._troubled,
            )
            self._meeting.start()

        listening.addCallbacks(listens, lambda failure: self._fail(failure.getErrorMessage()))
        return self._result

    def _came(self, info: PeerInfo) -> None:
        """Somebody is at the tracker: if it is the sender, dial it, and ask to be dialled."""
        if info.node[: len(self._code.pin)] != self._code.pin or self._result.called:
            return
        known = {(place.host, place.port) for place in self._code.places}
        for address in info.addresses:
            if (address.host, address.port) not in known:
                endpoint = self._network.client(address.host, address.port, alpn=FILES_ALPN)
                endpoint.connect(_Dials(self._make)).addErrback(lambda _: None)
        if not self._asked and self._meeting is not None:
            self._asked = self._meeting.ask_to_dial(info.node)

    def _troubled(self, text: str) -> None:
        self._trouble = text

    def _fail(self, text: str = "") -> None:
        if not self._result.called:
            self._end()
            self._result.errback(
                Failure(Unreachable(f"The sender was not met at the tracker: {text or self._trouble}."))
            )

    def _end(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        if self._meeting is not None:
            self._meeting.stop()
        if self._port is not None:
            self._port.stopListening()


class _Calls(Factory):
    """Takes the sender's call; a stranger's ends when its key is not the sender's."""

    noisy = False

    def __init__(self, make: Make) -> None:
        self._make = make
        self._admission = Admission()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the client's side, although the other side dialled."""
        return None if addr is None or self._admission.enter(addr) is None else self._make(False)


class _Dials(Factory):
    noisy = False

    def __init__(self, make: Make) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the client's side."""
        return self._make(True)
