"""`twistedp2p why`."""

from __future__ import annotations

import json
import os
from typing import Any

from click.testing import Result
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed

from tests.cli.test_commands import FolderTestCase
from tests.web.test_api import FakePeer
from twistedp2p.web.api import ControlService


class AskedPeer(FakePeer):
    """A peer that notes which path it is asked for."""

    def why(self, path: str) -> Deferred[dict[str, Any]]:
        """Answer with a reason."""
        self.events.append(path)
        answer = {"path": path, "code": "no-holder", "text": "No living member has it.", "waiting": [], "reasons": []}
        return succeed(answer)


class WhyTests(FolderTestCase):
    """Asked of a running peer, and without one."""

    def serve(self) -> AskedPeer:
        """Return a peer that serves the folder until the end of the test."""
        peer = AskedPeer()
        path = self.home.control_socket(self.folder)
        service = ControlService(reactor, reactor, peer, path)  # type: ignore[arg-type]
        service.startService()
        self.addCleanup(service.stopService)
        return peer

    async def why(self, *arguments: str) -> Result:
        """Run the command."""
        return await self.ask("why", *arguments)

    async def test_a_path(self) -> None:
        """The answer of the peer is one line, with its code; `--json` has all of it."""
        peer = self.serve()
        path = str(self.folder / "a" / "b c")
        result = await self.why(path)
        self.assertEqual((result.exit_code, result.output), (0, "a/b c: No living member has it. [no-holder]\n"))
        self.assertEqual(json.loads((await self.why(path, "--json")).output)["code"], "no-holder")
        self.assertEqual(peer.events, ["a/b c"] * 2)

    async def test_paths_of_all_kinds(self) -> None:
        """Dots, names that are no UTF-8, links above the share and links in it all mean what a person means."""
        peer = self.serve()
        (self.base / "way").symlink_to(self.folder)
        (self.folder / "link").symlink_to("/usr")
        for named in ("one/./x/../a", "one/caf\udce9", "way/a", "one/link"):
            self.assertEqual((await self.why(str(self.base / named))).exit_code, 0, named)
        self.assertEqual(peer.events, ["a", "caf\udce9", "a", "link"])

    async def test_a_relative_path(self) -> None:
        """It is seen from where one is."""
        peer = self.serve()
        (self.folder / "d").mkdir()
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder / "d")
        await self.why("../f")
        os.chdir(self.base)
        await self.why("one/d/g")
        self.assertEqual(peer.events, ["f", "d/g"])

    async def test_not_a_path_of_a_share(self) -> None:
        """The folder itself, a path elsewhere, and one on a disk that is away each get a sentence."""
        result = await self.why(str(self.folder))
        self.assertEqual(result.exit_code, 2)
        self.assertIn("twistedp2p status", result.stderr)
        result = await self.why("/nowhere/at/all")
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1))
        self.assertIn("in no shared folder", result.stderr)
        (self.folder / ".twistedp2p" / "mark").unlink()
        self.assertIn("not mounted?", (await self.why(str(self.folder / "f"))).stderr)

    async def test_a_path_that_may_not_be_looked_at(self) -> None:
        """The command needs no permission for what it asks about: that may be the very reason."""
        peer = self.serve()
        (self.folder / "file").write_text("1")
        named = self.folder / "file" / ("x" * 300)  # longer than any name: to look at it is an error
        for path in (named, self.folder / "file"):
            self.assertEqual((await self.why(str(path))).exit_code, 0)
        self.assertEqual(peer.events[1], "file")

    async def test_without_a_peer(self) -> None:
        """It is said that no peer runs, and what the disk alone can tell; the exit status is 1."""
        (self.folder / "link").symlink_to("f")
        result = await self.why(str(self.folder / "f"))
        self.assertEqual((result.exit_code, result.stderr), (1, ""))
        self.assertIn("f: No peer is running for", result.stdout)
        self.assertIn("[no-peer]", result.stdout)
        for name, code in (
            ("link", "kind-not-shared"),
            ("link/x", "kind-not-shared"),
            ("caf\udce9", "name-not-shared"),
        ):
            result = await self.why(str(self.folder / name))
            self.assertEqual(result.exit_code, 1)
            self.assertIn(f"[{code}]", result.stdout)
            self.assertIn("No peer is running", result.stdout)
