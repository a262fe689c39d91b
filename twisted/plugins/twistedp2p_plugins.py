"""What twistd and twist can run: each line names a module that is loaded when it is asked for."""

from twisted.application.service import ServiceMaker

echo = ServiceMaker(
    "twistedp2p echo",
    "twistedp2p.tap.echo",
    "An echo server: sends back every byte it receives.",
    "echo",
)
tracker = ServiceMaker(
    "twistedp2p tracker",
    "twistedp2p.tap.tracker",
    "A twistedp2p tracker: the directory of live peers and of what they hold.",
    "tracker",
)
peer = ServiceMaker(
    "twistedp2p peer",
    "twistedp2p.tap.peer",
    "A twistedp2p peer: shares one folder with the other members.",
    "peer",
)
fileserver = ServiceMaker(
    "twistedp2p fileserver",
    "twistedp2p.tap.fileserver",
    "A file server: named files of a folder, over TLS, to who has an invite.",
    "fileserver",
)
