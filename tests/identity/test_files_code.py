"""Codes that let in to named files: their text, and what is told about one that is given in the wrong place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from twistedp2p.errors import BadInvite
from twistedp2p.identity.codes import Place
from twistedp2p.identity.files_code import FilesInvite, SendCode, read_secret
from twistedp2p.identity.invite import Invite, TrackerAddress

SECRET = bytes(range(16))
PIN = bytes(range(100, 116))
PLACES = (Place("files.example", 17413), Place("2001:db8::7", 1))
TRACKER = TrackerAddress("tracker.example", 17411, bytes(range(200, 216)))
READ = FilesInvite(SECRET, PLACES, PIN)
SENT = SendCode(SECRET, PLACES[:1], PIN, TRACKER)

places = st.lists(
    st.builds(
        Place,
        st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
        st.integers(min_value=1, max_value=65535),
    ),
    min_size=1,
    max_size=7,
).map(tuple)
sixteen = st.binary(min_size=16, max_size=16)


class FilesCodeTests(unittest.SynchronousTestCase):
    """The invite of a file server and the code of a sender."""

    def refusal(self, parse: type[Invite | FilesInvite | SendCode], text: str) -> str:
        """Return what is told about a code that is refused."""
        return str(self.assertRaises(BadInvite, parse.parse, text))

    def test_text_stays(self) -> None:
        """The text of a code never changes: those on paper stay good."""
        self.assertEqual(
            READ.text(),
            "tp2p1:files.example:17413,[2001:db8::7]:1:aiaacaqdaqcqmbyibefawdanbyhwizlgm5ugs2tlnrww433qofzhhdpvswuq",
        )

    @given(secret=sixteen, where=places, pin=sixteen, writable=st.booleans())
    def test_files_round_trip(self, secret: bytes, where: tuple[Place, ...], pin: bytes, writable: bool) -> None:
        """Every invite of a server is read back as it was written, also in capitals and with line breaks."""
        invite = FilesInvite(secret, where, pin, writable)
        self.assertEqual(FilesInvite.parse(invite.text()), invite)
        self.assertEqual(FilesInvite.parse(f' "{invite.text().upper()[:30]}\n{invite.text()[30:]}"'), invite)

    @given(secret=sixteen, where=places, pin=sixteen, tracked=st.booleans())
    def test_send_round_trip(self, secret: bytes, where: tuple[Place, ...], pin: bytes, tracked: bool) -> None:
        """Every code of a sender is read back as it was written, with a tracker and without."""
        code = SendCode(secret, where, pin, TRACKER if tracked else None)
        self.assertEqual(SendCode.parse(code.text()), code)

    def test_a_sender_behind_a_tracker_only(self) -> None:
        """A sender that has no address of its own is met at its tracker."""
        code = SendCode(SECRET, (), PIN, TRACKER)
        self.assertEqual(SendCode.parse(code.text()), code)
        self.assertRaises(ValueError, SendCode, SECRET, (), PIN, None)

    def test_the_wrong_command(self) -> None:
        """A code given to the wrong command is told which command takes it."""
        share = Invite(SECRET, (TRACKER,))
        self.assertIn("twistedp2p join", self.refusal(FilesInvite, share.text()))
        self.assertIn("twistedp2p join", self.refusal(SendCode, share.text()))
        self.assertIn("twistedp2p get", self.refusal(Invite, READ.text()))
        self.assertIn("twistedp2p get", self.refusal(SendCode, READ.text()))
        self.assertIn("twistedp2p receive", self.refusal(Invite, SENT.text()))
        self.assertIn("twistedp2p receive", self.refusal(FilesInvite, SENT.text()))

    def test_cut_off_anywhere(self) -> None:
        """A code that ends too early, anywhere, is said to be cut off."""
        for parse, text in ((FilesInvite, READ.text()), (SendCode, SENT.text())):
            for end in range(1, len(text)):
                self.assertIn("is cut off at the end", self.refusal(parse, text[:end]), text[:end])

    def test_one_more_or_changed(self) -> None:
        """A code with something after it, or with another character in it, says so."""
        for parse, text in ((FilesInvite, READ.text()), (SendCode, SENT.text())):
            self.assertIn("something after its end", self.refusal(parse, text + "aa"))
            changed = text[:-3] + ("a" if text[-3] != "a" else "b") + text[-2:]
            self.assertIn("is damaged", self.refusal(parse, changed))

    def test_reading_gives_no_writing(self) -> None:
        """The secret to read follows from the one to write, and is another one, with other keys."""
        derived = read_secret(SECRET)
        self.assertEqual(derived, read_secret(SECRET))
        self.assertEqual(len(derived), 16)
        self.assertNotEqual(derived, SECRET)
        self.assertNotEqual(
            FilesInvite(derived, PLACES, PIN).keys().share_id, FilesInvite(SECRET, PLACES, PIN, True).keys().share_id
        )

    def test_shows_no_secret(self) -> None:
        """The representation of a code does not show its secret."""
        for code in (READ, SENT):
            self.assertNotIn(repr(SECRET), repr(code))

    @given(st.one_of(st.text(), st.text(alphabet="tp2p1:abcdefgh234567,.[]", max_size=120).map(lambda t: "tp2p1:" + t)))
    def test_only_bad_invite_escapes(self, text: str) -> None:
        """Whatever text is taken for a code, it is refused with a sentence, and nothing else happens."""
        for parse in (FilesInvite.parse, SendCode.parse, Place.parse):
            try:
                parse(text)
            except BadInvite as error:
                self.assertTrue(str(error))

    @given(data=st.data(), writable=st.booleans())
    def test_a_changed_character(self, data: st.DataObject, writable: bool) -> None:
        """A code with any one character changed is refused, or is the same code."""
        invite = FilesInvite(SECRET, PLACES, PIN, writable)
        text = list(invite.text())
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567:,.[]"))
        try:
            found = FilesInvite.parse("".join(text))
        except BadInvite:
            return
        self.assertEqual(found, invite)
