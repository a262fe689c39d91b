"""Fetch with progress: all that a file server has, verified; begun where the last try ended."""

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.task import react
from twisted.internet.threads import deferToThreadPool

from twistedp2p.disk.real import RealDisk
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.device import DeviceKey
from twistedp2p.paths import RelPath
from twistedp2p.transfer.files.client import FilesClient
from twistedp2p.transfer.files.downloads import Downloads
from twistedp2p.transfer.files.service import FileServerService


async def fetch(reactor, invite, to):
    network = TLSNetwork(reactor, DeviceKey.generate(), long_streams=True)
    client = FilesClient.of_invite(network, invite, name="me")

    def heard(event):  # it has begun, moved (now and then), and is at last done, skipped or failed
        print(f"{event.path}: {event.what.value}, {event.error or f'{event.done:,} of {event.size:,} bytes'}")

    in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())  # what blocks: the disk, hashing
    downloads = Downloads(client, RealDisk(os.fsencode(to)), in_thread, heard=heard)
    found = []
    try:
        await (await client.connected()).listing("", found.extend, deep=True)
        for entry in found:
            target = tuple(part.encode() for part in RelPath(entry.path).parts)  # raises BadPath: names are checked
            await downloads.add(entry, target)
        await downloads.finish()
    finally:
        downloads.stop()
        client.close()
    return downloads.totals


async def main(reactor):
    with TemporaryDirectory() as folder:
        root, to = Path(folder, "served"), Path(folder, "fetched")
        root.mkdir()
        to.mkdir()
        (root / "long").write_bytes(os.urandom(3_000_000))
        server = FileServerService(reactor, root, Path(folder, "home"), listen=["tcp:0:interface=127.0.0.1"])
        await server.start_listening()
        totals = await fetch(reactor, server.invite(), to)
        await server.stopService()
        print(f"{totals.files_done} files, {totals.bytes_done:,} bytes")


if __name__ == "__main__":
    react(main)
