"""Asking a running peer, from a command that has no reactor: HTTP over the UNIX socket of its folder."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from twistedp2p.errors import NotServed, Refusal
from twistedp2p.home import Home
from twistedp2p.limits import CONTROL_ANSWER
from twistedp2p.peer.settings import Settings

__all__ = ["NobodyListens", "ask", "ask_at", "serves"]


class NobodyListens(NotServed):
    """No process listens there."""


class _UNIXConnection(HTTPConnection):
    """An HTTP connection to a UNIX socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect; http.client calls this."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def serves(home: Home, folder: Path) -> bool:
    """Return whether a process listens on the control socket of `folder`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONTROL_ANSWER)
        try:
            probe.connect(home.control_socket(folder))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise NotServed(f"The peer that serves {folder} does not answer ({error}).") from error
    return True


def ask(home: Home, folder: Path, path: str, method: str = "GET", *, seconds: float = CONTROL_ANSWER) -> dict[str, Any]:
    """Return what the peer that serves `folder` answers to a request of its API (`twistedp2p.web.api`).

    It is waited for so many `seconds`.

    Raises:
        NotServed: no process serves the folder, or it does not answer.
        Refusal: it answers with an error; its sentence is the text.
    """
    try:
        return ask_at(home.control_socket(folder), path, method, f"The peer that serves {folder}", seconds)
    except NobodyListens:
        paused = Settings(folder / ".twistedp2p").paused_since() is not None
        raise NotServed(
            f"No peer is running for {folder}{', and it is paused' if paused else ''}: "
            f"start it with `twistedp2p share {folder}`."
        ) from None


def ask_at(socket_path: str, path: str, method: str, who: str, seconds: float = CONTROL_ANSWER) -> dict[str, Any]:
    """Return what is answered at this socket; `who` answers there, for the sentence of an error.

    Raises as `ask` does, and `NobodyListens`, which is a `NotServed`.
    """
    connection = _UNIXConnection(socket_path, seconds)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = json.loads(response.read())
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NobodyListens(f"{who} is not running.") from None
    except (OSError, HTTPException, ValueError) as error:
        raise NotServed(f"{who} does not answer ({error}).") from error
    finally:
        connection.close()
    if not isinstance(body, dict):
        raise NotServed(f"{who} does not answer: is it of another version?")
    if response.status >= 400:
        raise Refusal(str(body.get("text", response.reason)))
    return body
