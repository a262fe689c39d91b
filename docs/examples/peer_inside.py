"""A peer as a library: two members of a share and their tracker in one program, which waits and watches."""

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.service import PeerService
from twistedp2p.tracker.service import TrackerService

LOOPBACK = ("tcp:0:interface=127.0.0.1",)


async def start(peer):
    peer.prepare()  # raises what a person must know before anything starts
    await peer.start()  # others can reach it now


async def watch(peer, wanted):
    """Print what changes until `wanted` is there."""
    async for change in peer.changes():
        before = f", before {change.old_path}" if change.old_path else ""
        print(f"{change.what.value} by {change.by.value}: {change.path}, {change.size} bytes{before}")
        if change.path == wanted:
            return


async def main(reactor):
    with TemporaryDirectory() as folder:
        base = Path(folder)
        tracker = TrackerService(home=base / "tracker", reactor=reactor, listen=LOOPBACK)
        share = {"new_share": True, "tracker": await tracker.start_listening()}
        tracker.startService()
        anna = PeerService(reactor, PeerOptions(base / "anna", Home(base / "state"), listen=LOOPBACK, **share))
        await start(anna)
        share = {"invite": Invite.parse(anna.invite())}
        ben = PeerService(reactor, PeerOptions(base / "ben", Home(base / "other state"), listen=LOOPBACK, **share))
        await start(ben)
        try:
            watching = Deferred.fromCoroutine(watch(ben, "letter"))  # runs beside what follows
            (base / "anna" / "letter").write_text("Dear Ben")
            await watching
            await gatherResults([anna.in_sync(), ben.in_sync()])
            watching = Deferred.fromCoroutine(watch(ben, "to ben"))
            (base / "anna" / "letter").rename(base / "anna" / "to ben")
            await watching
            print("ben has:", (base / "ben" / "to ben").read_text())
        finally:
            for service in (ben, anna, tracker):
                await service.stopService()
        print("stopped")


if __name__ == "__main__":
    react(main)
