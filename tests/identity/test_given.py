"""The ways in which a person gives an invite."""

from __future__ import annotations

import io
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import BadInvite
from twistedp2p.identity.given import given_invite, invite_in_environment
from twistedp2p.identity.invite import Invite, TrackerAddress

INVITE = Invite(bytes(range(16)), (TrackerAddress("192.0.2.7", 17411, bytes(16)),))
TEXT = INVITE.text()


class GivenInviteTests(SynchronousTestCase):
    """Text, file, standard input, environment."""

    def test_text(self) -> None:
        """The invite itself is taken as it is."""
        self.assertEqual(given_invite(TEXT, io.StringIO()), INVITE)

    def test_standard_input(self) -> None:
        """A dash means the first line of standard input that is not empty; the rest is left unread."""
        stdin = io.StringIO(f"\n  \n{TEXT}\nmore\n")
        self.assertEqual(given_invite("-", stdin), INVITE)
        self.assertEqual(stdin.read(), "more\n")

    def test_no_standard_input(self) -> None:
        """With nothing on standard input there is a sentence."""
        self.assertIn("standard input", str(self.assertRaises(BadInvite, given_invite, "-", io.StringIO("\n"))))

    def test_file(self) -> None:
        """An at sign and a name mean that file."""
        path = Path(self.mktemp())
        path.write_text(f"{TEXT}\n")
        self.assertEqual(given_invite(f"@{path}", io.StringIO()), INVITE)

    def test_bad_file(self) -> None:
        """A file that is missing, or no file, is named; what is in a file that is no invite is not shown."""
        path = Path(self.mktemp())
        self.assertIn(str(path), str(self.assertRaises(BadInvite, given_invite, f"@{path}", io.StringIO())))
        self.assertRaises(BadInvite, given_invite, "@.", io.StringIO())
        self.assertRaises(BadInvite, given_invite, "@a\0b", io.StringIO())
        path.write_bytes(b"\xffsecret" * 1000)
        error = self.assertRaises(BadInvite, given_invite, f"@{path}", io.StringIO())
        self.assertNotIn("secret", str(error))

    def test_environment(self) -> None:
        """The variable holds the invite, or names it in the same ways; unset or empty it gives none."""
        self.assertEqual(invite_in_environment({"TWISTEDP2P_INVITE": TEXT}, io.StringIO()), INVITE)
        self.assertEqual(invite_in_environment({"TWISTEDP2P_INVITE": "-"}, io.StringIO(TEXT)), INVITE)
        self.assertIsNone(invite_in_environment({}, io.StringIO(TEXT)))
        self.assertIsNone(invite_in_environment({"TWISTEDP2P_INVITE": ""}, io.StringIO(TEXT)))
