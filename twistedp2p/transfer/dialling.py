"""Reaching one node: its addresses in turn, and if none leads to it, asking it through the tracker to dial this one.

    1. each listed address, as the list is at that moment          -> reached
    2. after `DIAL_ME_AFTER` seconds, or when all have failed: DialMe
    3. up to `DIAL_ME_WAIT` seconds for its call; new addresses are tried meanwhile
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twistedp2p import limits
from twistedp2p.errors import TwistedP2PError
from twistedp2p.framing.alarm import Alarm
from twistedp2p.messages.tracker import Address

__all__ = ["Dial", "not_reached"]

_PATIENCE = (ConnectError, DNSLookupError, TwistedP2PError, OSError)
"""What may go wrong at one address without being our fault: the next one is tried."""


class Dial:
    """One attempt to have a connection with one node; `run` it once.

    Args:
        clock: tells the time.
        addresses: where the node is listed now, in the order in which to try.
        attempt: dials one address; fires once the connection is proven.
        ask: asks the node to dial this one; returns whether that was possible.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        addresses: Callable[[], Sequence[Address]],
        attempt: Callable[[Address], Deferred[None]],
        ask: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._addresses = addresses
        self._attempt = attempt
        self._ask = ask
        self._trying: tuple[Address, Deferred[None]] | None = None
        self._asked_at: float | None = None
        self._over = False
        self._waiting: Deferred[None] | None = None
        self._help = Alarm(clock, self._ask_once)
        self._patience = Alarm(clock, self._wait_no_more)
        self.failures: dict[Address, str] = {}
        """What went wrong at each address."""

    @property
    def asked(self) -> bool:
        """Whether the node was asked to dial this one."""
        return self._asked_at is not None

    async def run(self) -> None:
        """Return when a connection is there, when there is no hope for one, or after `stop`."""
        self._help.set(limits.DIAL_ME_AFTER)
        try:
            while not self._over:
                address = self._next()
                if address is not None:
                    if await self._try(address):
                        return
                elif not await self._called_back():
                    return
        finally:
            self._help.stop()
            self._patience.stop()

    def reached(self) -> None:
        """There is a connection, whoever dialled it: try nothing more. A dial under way is left to its end."""
        self._over = True
        self._help.stop()
        self._wait_no_more()

    def news(self) -> None:
        """The node may be listed elsewhere now: give up on an address that it has left."""
        if self._trying is not None and self._trying[0] not in self._addresses():
            self._trying[1].cancel()
        if self._next() is not None:
            self._wait_no_more()

    def stop(self) -> None:
        """Give up."""
        self._over = True
        self._wait_no_more()
        if self._trying is not None:
            self._trying[1].cancel()

    def _next(self) -> Address | None:
        return next((address for address in self._addresses() if address not in self.failures), None)

    async def _try(self, address: Address) -> bool:
        """Return whether the address led to the node."""
        trying = self._attempt(address)
        self._trying = (address, trying)
        try:
            await trying
            return True
        except _PATIENCE as error:
            self.failures[address] = str(error) or type(error).__name__
            self._log.debug("No connection at {address}: {error}", address=address, error=error)
        except (CancelledError, ConnectingCancelledError):
            self.failures[address] = "it is not listed there any more"
        finally:
            self._trying = None
        return False

    def _ask_once(self) -> None:
        if self._asked_at is None and not self._over and self._ask():
            self._asked_at = self._clock.seconds()

    async def _called_back(self) -> bool:
        """Wait for the other side's call, or for news; return whether it is worth going on."""
        self._ask_once()
        if self._asked_at is None:
            return False
        left = self._asked_at + limits.DIAL_ME_WAIT - self._clock.seconds()
        if left <= 0:
            return False
        self._patience.set(min(left, limits.DIAL_ME_WAIT))
        self._waiting = Deferred()
        await self._waiting
        return True

    def _wait_no_more(self) -> None:
        self._patience.stop()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


def not_reached(name: str, failures: Mapping[Address, str], *, asked: bool) -> str:
    """Return why a node could not be reached, and what to do, in one sentence."""
    tried = ", ".join(f"{address.host} port {address.port}: {why.rstrip('.')}" for address, why in failures.items())
    reached = f"can not be reached ({tried})" if tried else "is listed without an address to dial"
    back = ", and did not reach this peer when it was asked to" if asked else ""
    return (
        f"{name} {reached}{back}; let one of the two through its firewall or router, or let a third peer run that both "
        "reach."
    )
