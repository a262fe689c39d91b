"""An echo server and what measures one: the pattern for protocol, factory, service, options and tests."""

from twistedp2p.echo.server import EchoFactory, EchoProtocol

__all__ = ["EchoFactory", "EchoProtocol"]
