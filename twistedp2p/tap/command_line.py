"""What the options of all our services have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.interfaces import IReactorCore
from twisted.python.usage import Options, UsageError

from twistedp2p.errors import BadAddress
from twistedp2p.framing.addresses import Advertised
from twistedp2p.tap.listening import check_endpoint

__all__ = ["ServiceOptions", "address", "global_reactor", "one_of", "path", "seconds"]

_DEFAULT_PIDFILE = "twistd.pid"


class ServiceOptions(Options):
    """Options of a service that listens; a subclass names its default endpoints.

    After parsing, ``options["listen"]`` is the list of endpoint texts.
    """

    default_listen: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, as a Twisted endpoint (tcp:8000, tcp6:8000, unix:/run/socket); may repeat."""
        self["listen"].append(endpoint)

    def postOptions(self) -> None:
        """Fill in the default endpoints, check them all, and do without twistd's pidfile."""
        self["listen"] = self["listen"] or self.listens_by_default()
        for endpoint in self["listen"]:
            self.check_listen(endpoint)
        if self.parent is not None:
            _drop_default_pidfile(self.parent)

    def listens_by_default(self) -> list[str]:
        """Return where to listen when nothing was said of it."""
        return list(self.default_listen)

    def check_listen(self, text: str) -> None:
        """Raise UsageError unless `text` is an endpoint that this service can listen on."""
        check_endpoint(text, global_reactor())


def path(text: str) -> Path:
    """Return the absolute path for an option; the text may begin with ``~``."""
    if not text:
        raise UsageError("A path was left empty; write one, or leave the option out.")
    # Absolute now, because twistd changes its working directory before a service starts.
    return Path(text).expanduser().absolute()


def seconds(text: str) -> float:
    """Return a number of seconds above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{text!r} is not a number of seconds above zero.")
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a function that returns its text if that is one of `choices`."""

    def chosen(text: str) -> str:
        if text not in choices:
            raise UsageError(f"{text!r} is not a choice here; write {' or '.join(choices)}.")
        return text

    return chosen


def address(text: str) -> str:
    """Return an address that others are to dial, HOST or HOST:PORT, when it is one."""
    try:
        Advertised.parse(text)
    except BadAddress as error:
        raise UsageError(str(error)) from error
    return text.strip()


def global_reactor() -> IReactorCore:
    """Return the reactor of the process, which `twistd --reactor` may have chosen by now."""
    from twisted.internet import reactor

    return reactor


def _drop_default_pidfile(twistd: MutableMapping[str, Any]) -> None:
    """Let several services run side by side in the foreground from one folder.

    Twistd writes ``twistd.pid`` even with ``-n``, and refuses to start when it is there. The
    options of a subcommand are done before those of twistd itself, so it is still time.
    `twist` has no pidfile. A pidfile of another name was asked for, and stays.
    """
    in_foreground = twistd.get("nodaemon") or twistd.get("debug")
    if in_foreground and twistd.get("pidfile") == _DEFAULT_PIDFILE:
        twistd["pidfile"] = ""
