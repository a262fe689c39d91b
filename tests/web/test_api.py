"""The control API, over a real UNIX socket."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from twistedp2p import __version__
from twistedp2p.errors import FolderUnusable
from twistedp2p.peer.purging import Wish
from twistedp2p.web.api import ControlService


class FakePeer:
    """A peer that answers what it is told to, and notes what it is asked."""

    def __init__(self) -> None:
        self.state: Mapping[str, Any] = {"folder": "/x", "name": "caf\udce9 ☃"}
        self.events: list[str] = []
        self.error: Exception | None = None

    def status(self) -> Mapping[str, Any]:
        """Return the state, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.state

    def why(self, path: str) -> Deferred[dict[str, Any]]:
        """Answer with the path."""
        return succeed({"path": path, "code": "in-sync"})

    def invite(self) -> str:
        """Return an invite."""
        return "tp2p1:x"

    def stop(self) -> None:
        """Note it."""
        self.events.append("stop")

    def pause(self) -> Deferred[None]:
        """Note it, or fail."""
        return self._note("pause")

    def resume(self) -> Deferred[None]:
        """Note it, or fail."""
        return self._note("resume")

    def _note(self, event: str) -> Deferred[None]:
        if self.error is not None:
            return fail(self.error)
        self.events.append(event)
        return succeed(None)

    def trash(self, place: str | None, pattern: str | None) -> Deferred[dict[str, Any]]:
        """Note what is asked for; answer with a page."""
        self.events.append(f"trash {place!r} {pattern!r}")
        return succeed({"items": [], "next": None})

    def purge_trash(self, wish: Wish, place: str | None) -> Deferred[dict[str, Any]]:
        """Note what is to be removed."""
        self.events.append(f"purge {wish} {place!r}")
        return succeed({"removed": 1})


def _exchange(path: str, request: bytes) -> bytes:
    """Send one request and return all of the answer; for a thread."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(path)
        client.sendall(request)
        answer = b""
        while data := client.recv(65536):
            answer += data
        return answer


class ControlTests(TestCase):
    """What the socket answers."""

    async def setUp(self) -> None:  # type: ignore[override]
        folder = tempfile.TemporaryDirectory(prefix="p2p-")  # short: a socket's path has a limit
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "control.sock")
        self.peer = FakePeer()
        self.service = ControlService(reactor, reactor, self.peer, self.path)  # type: ignore[arg-type]
        self.service.startService()
        self.addCleanup(self.stop)

    def stop(self) -> Deferred[None] | None:
        """Stop the service, if it runs."""
        return self.service.stopService() if self.service.running else None

    async def ask(self, method: str, path: str) -> tuple[int, dict[str, str], Any]:
        """Return status code, headers and the decoded body of the answer."""
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        answer = await deferToThread(_exchange, self.path, request.encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return int(first.split()[1]), headers, json.loads(body)

    async def test_status(self) -> None:
        """GET /status is the state of the peer as JSON, also names that are not UTF-8."""
        code, headers, body = await self.ask("GET", "/status")
        self.assertEqual((code, headers["content-type"]), (200, "application/json"))
        self.assertEqual(body, self.peer.state)

    async def test_invite_and_version(self) -> None:
        """GET /invite is the invite, GET /version the versions of package and API."""
        self.assertEqual((await self.ask("GET", "/invite"))[2], {"invite": "tp2p1:x"})
        self.assertEqual((await self.ask("GET", "/version"))[2], {"version": __version__, "api": 1})

    async def test_why(self) -> None:
        """GET /why has the path in its query, also one that is not UTF-8; without it, it is told how to ask."""
        code, _, body = await self.ask("GET", "/why?path=a%20b%2Fcaf%E9")
        self.assertEqual((code, body), (200, {"path": "a b/caf\udce9", "code": "in-sync"}))
        code, _, body = await self.ask("GET", "/why")
        self.assertEqual((code, body["error"]), (400, "argument"))

    async def test_stop(self) -> None:
        """POST /stop ends the peer, and is answered; GET does not end it."""
        code, headers, body = await self.ask("GET", "/stop")
        self.assertEqual((code, headers["allow"], body["error"], self.peer.events), (405, "POST", "method", []))
        self.assertEqual((await self.ask("POST", "/stop"))[0], 202)
        self.assertEqual(self.peer.events, ["stop"])

    async def test_pause_and_resume(self) -> None:
        """POST /pause and /resume are answered when it is done, or with the reason why it is not."""
        self.assertEqual((await self.ask("POST", "/pause"))[::2], (200, {"paused": True}))
        self.assertEqual((await self.ask("POST", "/resume"))[::2], (200, {"paused": False}))
        self.assertEqual(self.peer.events, ["pause", "resume"])
        self.peer.error = FolderUnusable("The port is taken.")
        code, _, body = await self.ask("POST", "/resume")
        self.assertEqual((code, body), (503, {"error": "folder", "text": "The port is taken."}))

    async def test_trash(self) -> None:
        """GET /trash lists from a place on, POST /trash removes what is said; odd names come through."""
        odd = "20200101/0000000000000000.a\n& \u2603"
        await self.ask("GET", "/trash?" + urlencode({"place": odd, "pattern": "*.t+t"}))
        await self.ask("GET", "/trash")
        code, _, body = await self.ask("POST", "/trash?" + urlencode({"older_than": 7, "pattern": odd, "place": "p"}))
        self.assertEqual((code, body), (200, {"removed": 1}))
        await self.ask("POST", "/trash?everything=1")
        self.assertEqual(
            self.peer.events,
            [
                f"trash {odd!r} '*.t+t'",
                "trash None None",
                f"purge {Wish(7, odd)} 'p'",
                f"purge {Wish(everything=True)} None",
            ],
        )

    async def test_what_to_remove_must_be_said(self) -> None:
        """POST /trash without a word, or with a wrong one, removes nothing."""
        for query in ("", "?older_than=-1", "?older_than=x", "?older_than=36501", "?everything=yes"):
            code, _, body = await self.ask("POST", f"/trash{query}")
            self.assertEqual((code, body["error"]), (400, "argument"), query)
        self.assertEqual(self.peer.events, [])

    async def test_unknown(self) -> None:
        """Another path is 404, whatever is below or behind it."""
        for path in ("/", "/status/", "/status/x", "/../status", "/nothing"):
            self.assertEqual((await self.ask("GET", path))[0], 404, path)

    async def test_error_of_the_peer(self) -> None:
        """An error that a person can do something about is answered with its code and sentence."""
        self.peer.error = FolderUnusable("The folder is gone.")
        code, _, body = await self.ask("GET", "/status")
        self.assertEqual((code, body), (503, {"error": "folder", "text": "The folder is gone."}))

    async def test_bug_of_the_peer(self) -> None:
        """Any other error is logged, and the answer says no more than that there was one."""
        self.peer.error = ValueError("a secret")
        code, _, body = await self.ask("GET", "/status")
        self.assertEqual((code, body["error"]), (500, "internal"))
        self.assertNotIn("secret", body["text"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_private(self) -> None:
        """Only the owner can open the socket."""
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    async def test_leftover(self) -> None:
        """The socket of a process that was killed is replaced; one that stops removes its own."""
        await maybeDeferred(self.service.stopService)
        self.assertFalse(os.path.exists(self.path))
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(self.path)
        self.assertTrue(os.path.exists(self.path))
        self.service.startService()
        self.assertEqual((await self.ask("GET", "/version"))[0], 200)

    async def test_folder_went_away(self) -> None:
        """Stopping works also when the socket was removed meanwhile."""
        os.unlink(self.path)
        await maybeDeferred(self.service.stopService)
        self.assertFalse(self.service.running)

    async def test_no_place(self) -> None:
        """A socket whose folder is missing is an error in a sentence."""
        path = str(Path(self.path).parent / "missing" / "control.sock")
        service = ControlService(reactor, reactor, self.peer, path)  # type: ignore[arg-type]
        self.assertRaises(FolderUnusable, service.startService)
