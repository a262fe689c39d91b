"""Serve a folder from your app: who has the invite reads it, over TLS; one more service in the app's tree."""

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.application.service import MultiService
from twisted.internet.task import react

from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.files_code import FilesInvite
from twistedp2p.transfer.files.client import FilesClient
from twistedp2p.transfer.files.service import FileServerService


async def list_all(reactor, invite):
    """Return what a server has, path and size, in any program that was given the invite."""
    network = TLSNetwork(reactor, DeviceKey.generate(), long_streams=True)
    client = FilesClient.of_invite(network, invite, name="me")
    found = []
    try:
        connection = await client.connected()
        await connection.listing("", found.extend, deep=True)
    finally:
        client.close()
    return [(entry.path, entry.size) for entry in found if not entry.folder]


async def main(reactor):
    with TemporaryDirectory() as folder:
        root = Path(folder, "served")
        (root / "letters").mkdir(parents=True)
        (root / "letters" / "to ben").write_text("Dear Ben")
        (root / "list").write_text("bread\n")

        app = MultiService()  # your services have the same parent
        server = FileServerService(reactor, root, Path(folder, "home"), listen=["tcp:0:interface=127.0.0.1"])
        server.setServiceParent(app)
        app.startService()
        try:
            await server.start_listening()
            invite = server.invite().text()  # a secret: hand it on as one
            for path, size in await list_all(reactor, FilesInvite.parse(invite)):
                print(f"{path}: {size} bytes")
        finally:
            await app.stopService()
        print("stopped")


if __name__ == "__main__":
    react(main)
