"""An invite as a person gives it to a program: as text, by a file, by standard input or in the environment.

Everybody on the machine can read a command line, so an invite never has to be on one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from twistedp2p.errors import BadInvite
from twistedp2p.identity.invite import Invite
from twistedp2p.limits import INVITE_CHARS

__all__ = ["INVITE_VARIABLE", "given_invite", "given_text", "invite_in_environment"]

INVITE_VARIABLE = "TWISTEDP2P_INVITE"


def given_invite(text: str, stdin: TextIO) -> Invite:
    """Return the invite that `text` is, or names, see `given_text`; raises `BadInvite`. Blocks while it reads."""
    return Invite.parse(given_text(text, stdin))


def given_text(text: str, stdin: TextIO) -> str:
    """Return the line that `text` is, or names: ``@FILE`` is the content of a file, ``-`` a line of `stdin`.

    Raises `BadInvite`, which does not repeat what was read. Blocks while it reads.
    """
    if text == "-":
        # One line, so that a person who types or pastes it need not say that there is no more.
        return _first_line(stdin)
    if text.startswith("@"):
        try:
            with Path(text[1:]).expanduser().open(encoding="utf-8", errors="replace") as file:
                return file.read(INVITE_CHARS + 1)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise BadInvite(f"The file {text[1:]!r} with the invite can not be read ({why}).") from error
    return text


def invite_in_environment(environ: Mapping[str, str], stdin: TextIO) -> Invite | None:
    """Return the invite that the variable TWISTEDP2P_INVITE gives; None if it is not set, or empty."""
    text = environ.get(INVITE_VARIABLE)
    return given_invite(text, stdin) if text else None


def _first_line(stdin: TextIO) -> str:
    while line := stdin.readline(INVITE_CHARS + 1):
        if line.strip():
            return line
    raise BadInvite("There was no invite on standard input. It is one line that begins with tp2p1:")
