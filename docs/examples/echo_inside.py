"""Echo inside your app: its own protocol on one endpoint, an echo on another; in the style of Deferreds."""

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react

from twistedp2p.echo.crowd import Crowd
from twistedp2p.echo.server import EchoFactory


class Greeting(Protocol):
    """What the app itself does: it greets, and hangs up."""

    def connectionMade(self):
        self.transport.write(b"welcome")
        self.transport.loseConnection()


class Caller(Protocol):
    """Says something, and hears until the other side closes; `heard` fires with all of it."""

    def __init__(self, words):
        self.words, self.parts, self.heard = words, [], Deferred()

    def connectionMade(self):
        self.transport.write(self.words)
        self.transport.loseWriteConnection()  # nothing more comes: the echo closes when all is back

    def dataReceived(self, data):
        self.parts.append(data)

    def connectionLost(self, reason):
        self.heard.callback(b"".join(self.parts))


def main(reactor):
    crowd = Crowd(clock=reactor, most=100, idle=60.0)  # its limits, and what ends its connections
    factories = [Factory.forProtocol(Greeting), EchoFactory(crowd)]
    listening = [serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory) for factory in factories]

    def call(port, words):
        where = clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}")
        return connectProtocol(where, Caller(words)).addCallback(lambda caller: caller.heard)

    def use(ports):
        said = gatherResults([call(port, b"hello") for port in ports])
        said.addCallback(lambda words: print("app:", words[0].decode(), "echo:", words[1].decode()))
        said.addBoth(lambda result: gatherResults([port.stopListening() for port in ports]).addBoth(lambda _: result))
        said.addBoth(lambda result: crowd.stop().addBoth(lambda _: result))  # connections that are left end
        return said.addCallback(lambda _: print(crowd.counters.sentence()))

    return gatherResults(listening).addCallback(use)


if __name__ == "__main__":
    react(main)
