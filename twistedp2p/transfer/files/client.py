"""Reaching a server of named files, and reaching it again: one connection at a time, dialled when it is needed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from random import Random, SystemRandom
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import NoCommonVersion, PeerTimeout, Refusal, TwistedP2PError, Unreachable, WrongPeer
from twistedp2p.framing.network import FILES_ALPN, Network
from twistedp2p.identity.codes import Place
from twistedp2p.identity.files_code import FilesInvite, SendCode
from twistedp2p.identity.share import ShareKeys
from twistedp2p.transfer.files.attempts import Attempts
from twistedp2p.transfer.files.connection import FilesConnection

__all__ = ["FilesClient", "Make", "Server", "Way", "is_passing"]

T = TypeVar("T")

Make = Callable[[bool], FilesConnection]
"""Makes a connection, given whether this side dials it."""
Way = Callable[[Make], Deferred[Any]]
"""A way to the server beside dialling it: makes connections as they come; fails if it leads nowhere."""


def is_passing(error: BaseException) -> bool:
    """Whether `error` may be over when the server is reached again: the network, or a server that starts anew."""
    return isinstance(error, (Unreachable, PeerTimeout))


@frozen
class Server:
    """A server as its clients know it: where it is, and what they have of it."""

    places: tuple[Place, ...]
    """Its addresses; they are tried one after the other, the next when one takes long."""
    keys: ShareKeys | None = None
    """Of an invite; None to ask without one."""
    pin: bytes | None = None
    """Of its key; None to take any."""

    @classmethod
    def of(cls, given: FilesInvite | SendCode) -> Server:
        """Return the server that an invite or a code is of."""
        return cls(given.places, given.keys(), given.pin)


class FilesClient:
    """One server, as long as it is needed.

    Args:
        network: the way to it, with the key of this device.
        server: which one.
        name: by which this side is shown to people.
        entropy: random bytes, for nonces.
        random: for the waits before dialling again.
        patience: seconds for which it is dialled again and again, once it was there, before `connected` fails.
        ways: to try when no address has answered.
    """

    def __init__(
        self,
        network: Network,
        server: Server,
        *,
        name: str = "",
        entropy: Callable[[int], bytes] = os.urandom,
        random: Random | None = None,
        patience: float = limits.FILES_PATIENCE,
        ways: Sequence[Way] = (),
    ) -> None:
        self._network = network
        self._server = server
        self._ways = tuple(ways)
        self._name = name
        self._entropy = entropy
        self._random = SystemRandom() if random is None else random
        self._patience = patience
        self._connection: FilesConnection | None = None
        self._dialling: Deferred[FilesConnection] | None = None
        self._waiting: list[Deferred[FilesConnection]] = []
        self._closed = False
        self._was_connected = False
        self._connected_at = 0.0
        self._wait = limits.BACKOFF_FIRST
        self._fruitless_since: float | None = None
        """When the first of the last connections began that were lost before they were of any use; else None."""
        self.bytes_in = 0
        """Bytes of content that came over connections that are gone."""
        self.bytes_out = 0
        """Bytes of content that went over connections that are gone."""

    @classmethod
    def of_invite(cls, network: Network, invite: FilesInvite, *, name: str = "") -> FilesClient:
        """Return a client of the server that `invite` is of."""
        return cls(network, Server.of(invite), name=name)

    @property
    def clock(self) -> IReactorTime:
        """The clock of the connections."""
        return self._network.clock

    @property
    def source(self) -> bytes:
        """What stands for this server and what it serves: parts of one are never taken for another's."""
        if self._server.keys is not None:
            return self._server.keys.share_id
        return ",".join(place.address for place in self._server.places).encode()

    @property
    def received(self) -> int:
        """Bytes of content that came in all."""
        return self.bytes_in + (self._connection.bytes_in if self._connection is not None else 0)

    @property
    def sent(self) -> int:
        """Bytes of content that were written in all."""
        return self.bytes_out + (self._connection.bytes_out if self._connection is not None else 0)

    def connected(self) -> Deferred[FilesConnection]:
        """Return the connection, dialled if there is none.

        Fails with `Unreachable` when the server can not be reached for `patience` seconds, and at once with what
        another try would not change, `WrongPeer` or `NoCommonVersion`, or if it was never there.
        """
        result: Deferred[FilesConnection] = Deferred(self._waits_no_more)
        if self._closed:
            result.errback(Failure(Unreachable("The connection was closed here.")))
        elif self._connection is not None:
            result.callback(self._connection)
        else:
            self._waiting.append(result)
            if self._dialling is None:
                self._dialling = Deferred.fromCoroutine(self._dial())
                self._dialling.addBoth(self._dialled)
        return result

    async def answer(self, ask: Callable[[FilesConnection], Awaitable[T]]) -> T:
        """Return what `ask` returns, called with one connection after the other until it is no longer cut off."""
        while True:
            connection = await self.connected()
            try:
                return await ask(connection)
            except TwistedP2PError as error:
                if not is_passing(error):
                    raise

    def close(self) -> None:
        """Close the connection; whoever waits for one fails."""
        self._closed = True
        if self._dialling is not None:
            self._dialling.cancel()
        if self._connection is not None:
            self._connection.say_goodbye()

    def _waits_no_more(self, result: Deferred[FilesConnection]) -> None:
        self._waiting.remove(result)

    def _dialled(self, result: FilesConnection | Failure) -> None:
        self._dialling = None
        waiting, self._waiting = self._waiting, []
        if isinstance(result, Failure) and result.check(CancelledError):
            result = Failure(Unreachable("The connection was closed here."))
        for one in waiting:
            one.callback(result)

    async def _dial(self) -> FilesConnection:
        """Dial until there is a connection, with longer and longer waits between.

        A connection that was of no use counts like none: a server that hangs up at each request is not dialled all
        the time, nor for ever.
        """
        began = self._network.clock.seconds()
        if self._fruitless_since is not None:
            began = self._fruitless_since
            await self._pause(began, Unreachable("The server hangs up again and again; look what its log says."))
        while True:
            try:
                connection = await Attempts(self._network.clock, self._every_way()).first()
            except (WrongPeer, NoCommonVersion):
                raise
            except TwistedP2PError as error:
                # Who was never there is not waited for: the address may be wrong, or the invite void.
                if not self._was_connected:
                    raise
                await self._pause(began, error)
            else:
                self._was_connected = True
                return connection

    async def _pause(self, began: float, error: TwistedP2PError) -> None:
        """Wait before dialling again, longer each time; raises `error` if that was tried for long enough."""
        left = began + self._patience - self._network.clock.seconds()
        if left <= 0:
            raise error
        wait, self._wait = self._wait, min(self._wait * 2, limits.BACKOFF_MOST)
        await _sleep(self._network, min(left, wait * (1 - self._random.random() / 2)))

    def _was_of_use(self, connection: FilesConnection) -> bool:
        """Whether a connection that was lost moved something, or was there for long and did not fall silent."""
        lived = self._network.clock.seconds() - self._connected_at
        moved = connection.bytes_in or connection.bytes_out
        return bool(moved) or (lived >= limits.BACKOFF_MOST and not connection.fell_silent)

    def _every_way(self) -> list[Callable[[], Deferred[FilesConnection]]]:
        return [*(self._to(place) for place in self._server.places), *(self._by(way) for way in self._ways)]

    def _to(self, place: Place) -> Callable[[], Deferred[FilesConnection]]:
        def dial(make: Make) -> Deferred[Any]:
            return self._network.client(place.host, place.port, alpn=FILES_ALPN).connect(_Only(make))

        return lambda: self._attempt(place.address, dial, only=True)

    def _by(self, way: Way) -> Callable[[], Deferred[FilesConnection]]:
        return lambda: self._attempt("The sender", way, only=False)

    def _attempt(self, where: str, way: Way, *, only: bool) -> Deferred[FilesConnection]:
        """Go one way; the Deferred fires when the server has said welcome.

        `only`: it makes one connection at most.
        """
        going: list[Deferred[Any]] = []
        made: list[FilesConnection] = []

        def cancel(_: object) -> None:
            for one in going:
                one.cancel()
            for connection in made:
                connection.abort("another address answered first, or nobody waits any more")

        result: Deferred[FilesConnection] = Deferred(cancel)

        def opened(connection: FilesConnection) -> None:
            if result.called:
                connection.abort("another connection is there already")
            else:
                self._connection = connection
                self._connected_at = self._network.clock.seconds()
                result.callback(connection)
                for one in going:
                    one.cancel()

        def lost(connection: FilesConnection, reason: Failure) -> None:
            made.remove(connection)
            if self._connection is connection:
                self.bytes_in += connection.bytes_in
                self.bytes_out += connection.bytes_out
                self._connection = None
                if self._was_of_use(connection):
                    self._fruitless_since, self._wait = None, limits.BACKOFF_FIRST
                elif self._fruitless_since is None:
                    self._fruitless_since = self._connected_at
            # Of several connections, one that leads nowhere says nothing about the others, unless it was refused.
            if not result.called and (only or isinstance(connection.ended, Refusal)):
                result.errback(_why_not_welcome(where, connection, reason))

        def failed(failure: Failure) -> None:
            if not result.called:
                result.errback(_why_not_reached(where, failure))

        def make(dialled: bool) -> FilesConnection:
            connection = FilesConnection(
                network=self._network,
                keys=self._server.keys,
                pin=self._server.pin,
                name=self._name,
                entropy=self._entropy,
                opened=opened,
                lost=lost,
                dialled=dialled,
            )
            made.append(connection)
            return connection

        going.append(way(make))
        going[0].addErrback(failed)
        return result


def _why_not_reached(where: str, failure: Failure) -> Failure:
    if failure.check(TwistedP2PError):
        return failure
    text = failure.getErrorMessage() or (failure.type.__name__ if failure.type else "")
    return Failure(Unreachable(f"{where} can not be reached ({text})."))


class _Refused(Unreachable):
    """The server hung up before it said a word: it does not know this invite."""


def _why_not_welcome(where: str, connection: FilesConnection, reason: Failure) -> Failure:
    if isinstance(connection.ended, Unreachable) and connection.server_pin and connection.error is None:
        text = f"{where} hung up: it stops, or does not take this invite; then ask for a new one."
        return Failure(_Refused(text))
    return reason


class _Only(Factory):
    noisy = False

    def __init__(self, make: Make) -> None:
        self._make = make

    def buildProtocol(self, addr: object) -> FilesConnection:
        """Return the connection."""
        return self._make(True)


def _sleep(network: Network, seconds: float) -> Deferred[None]:
    call = network.clock.callLater(seconds, lambda: result.callback(None))
    result: Deferred[None] = Deferred(lambda _: call.cancel())
    return result
