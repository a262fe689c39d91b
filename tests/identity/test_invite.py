"""The invite: its text, what may happen to it on the way, and what the person is told."""

from __future__ import annotations

import re

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import BadInvite
from twistedp2p.identity import codes
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.identity.share import ShareKeys
from twistedp2p.limits import INVITE_CHARS, TRACKERS

SECRET = bytes(range(16))
PIN = bytes(range(16, 32))
ONE = Invite(SECRET, (TrackerAddress("tracker.example", 17411, PIN),))
ONE_TEXT = "tp2p1:tracker.example:17411:aeaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb7q7otlca"
TWO = Invite(
    SECRET, (TrackerAddress("2001:db8::1", 17411, PIN), TrackerAddress("192.0.2.7", 80, bytes(16))), portable=True
)
TWO_TEXT = (
    "tp2p1:[2001:db8::1]:17411,192.0.2.7:80:"
    "ceaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb6aaaaaaaaaaaaaaaaaaaaaaaaabtw46pg"
)

HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,9}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ADDRESSES = st.builds(TrackerAddress, HOSTS, st.integers(1, 65535), st.binary(min_size=16, max_size=16))
INVITES = st.builds(
    Invite,
    st.binary(min_size=16, max_size=16),
    st.lists(ADDRESSES, min_size=1, max_size=TRACKERS).map(tuple),
    st.booleans(),
)


def code_for(head: str, body: bytes) -> str:
    """Return an invite of any bytes, with a checksum that is right."""
    return head + codes.to_base32(body + codes._checksum(head, body))


class InviteTests(SynchronousTestCase):
    """Text and back."""

    def test_vectors(self) -> None:
        """The text of an invite never changes: those on paper stay good."""
        for invite, text in ((ONE, ONE_TEXT), (TWO, TWO_TEXT)):
            self.assertEqual(invite.text(), text)
            self.assertEqual(Invite.parse(text), invite)

    @given(INVITES)
    def test_round_trip(self, invite: Invite) -> None:
        """Every invite is read back as it was written, also in capitals, as a QR code has it."""
        text = invite.text()
        self.assertTrue(text.isascii() and text.isprintable() and " " not in text)
        self.assertLessEqual(len(text), INVITE_CHARS)
        self.assertEqual(Invite.parse(text), invite)
        self.assertEqual(Invite.parse(text.upper()), invite)

    def test_longest(self) -> None:
        """Eight trackers with the longest names fit, and a ninth is refused."""
        longest = TrackerAddress("a" * 253, 65535, PIN)
        invite = Invite(SECRET, (longest,) * TRACKERS)
        self.assertEqual(Invite.parse(invite.text()), invite)
        head = "tp2p1:" + ",".join(["a:1"] * (TRACKERS + 1)) + ":"
        with self.assertRaisesRegex(BadInvite, "more than 8 trackers"):
            Invite.parse(code_for(head, b"\x01" + SECRET + PIN * (TRACKERS + 1)))

    def test_pasted(self) -> None:
        """White space, line breaks, quotes and brackets that a mail or chat adds do no harm."""
        for text in (
            f"  {ONE_TEXT}\r\n",
            f'"{ONE_TEXT}"',
            f"`{ONE_TEXT}`",
            f"<{ONE_TEXT}>",
            f"\u201c{ONE_TEXT}\u201d",
            f"\ufeff{ONE_TEXT}",
            "\n".join(ONE_TEXT[at : at + 20] for at in range(0, len(ONE_TEXT), 20)),
            "\u200b".join(ONE_TEXT),
            "\u00a0" + ONE_TEXT.title(),
        ):
            self.assertEqual(Invite.parse(text), ONE)

    def test_keys(self) -> None:
        """An invite gives the keys of its share, with its rule of names."""
        self.assertEqual(ONE.keys(), ShareKeys.derive(SECRET, False))
        self.assertEqual(TWO.keys(), ShareKeys.derive(SECRET, True))

    def test_shows_no_secret(self) -> None:
        """The representation of an invite tells where the trackers are, and not the secret."""
        self.assertEqual(repr(ONE), f"Invite(trackers={ONE.trackers!r}, portable=False)")

    def test_impossible(self) -> None:
        """An invite has a secret of sixteen bytes and one to eight trackers."""
        for secret, trackers in ((bytes(15), ONE.trackers), (SECRET, ()), (SECRET, ONE.trackers * 9)):
            with self.assertRaises(ValueError):
                Invite(secret, trackers)


class BadInviteTests(SynchronousTestCase):
    """What is told about an invite that can not be used."""

    def refusal(self, text: str) -> str:
        """Return what the person is told about `text`."""
        with self.assertRaises(BadInvite, msg=text) as caught:
            Invite.parse(text)
        sentence = str(caught.exception)
        self.assertTrue(sentence.endswith("."))
        return sentence

    def test_cut_off(self) -> None:
        """An invite that ends too early, anywhere, is said to be cut off."""
        long_names = tuple(TrackerAddress(f"{at}.a-long-name-of-a-tracker.example.org", 1, PIN) for at in "abc")
        for text in (ONE_TEXT, TWO_TEXT, Invite(SECRET, long_names).text()):
            for size in range(1, len(text)):
                self.assertIn("cut off", self.refusal(text[:size]), text[:size])

    def test_damaged(self) -> None:
        """An invite with any one character changed is refused, and mostly said to be damaged."""
        for text in (ONE_TEXT, TWO_TEXT):
            for at in range(len(text)):
                for character in "aq27:,.[0-":
                    changed = text[:at] + character + text[at + 1 :]
                    if changed != text:
                        self.refusal(changed)
            for at in range(text.rindex(":") + 1, len(text)):
                changed = text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :]
                self.assertIn("damaged", self.refusal(changed))
            for at in range(6, text.rindex(":")):
                changed = text[:at] + ("1" if text[at] not in "1:[]," else "2") + text[at + 1 :]
                if text[at] not in ":[],":
                    self.assertIn("damaged", self.refusal(changed), changed)

    def test_what_people_do(self) -> None:
        """Each mistake has a sentence that says what to do; what only looks like one is no mistake."""
        code = ONE_TEXT[ONE_TEXT.rindex(":") + 1 :]
        for text, sentence in (
            (ONE_TEXT[:-1], "This invite is cut off at the end. Copy the whole line."),
            (ONE_TEXT[: -len(code)], "This invite is cut off at the end. Copy the whole line."),
            (ONE_TEXT[:20] + "x" + ONE_TEXT[21:], "This invite is damaged: a character is wrong, missing or doubled."),
            (ONE_TEXT.replace("17411", "17412"), "This invite is damaged: a character is wrong, missing or doubled."),
            (ONE_TEXT + " ~/shared", "This invite has something after its end. Copy the one line and no more."),
            (ONE_TEXT.replace("tp2p1:", "tp2p9:"), "This invite was made by another version of twistedp2p."),
            (ONE_TEXT.replace("tp2p1:", "https://"), "This is not an invite."),
            (code, "This is not an invite."),
            ("~/shared", "This is not an invite."),
        ):
            self.assertIn(sentence, self.refusal(text))
        for text in (f"'{ONE_TEXT}'", f" {ONE_TEXT}\n", ONE_TEXT.upper(), f"{ONE_TEXT[:50]}\n  {ONE_TEXT[50:]}"):
            self.assertEqual(Invite.parse(text), ONE)

    def test_swapped(self) -> None:
        """Two neighbours that changed places are noticed."""
        for at in range(6, len(ONE_TEXT) - 1):
            changed = ONE_TEXT[:at] + ONE_TEXT[at + 1] + ONE_TEXT[at] + ONE_TEXT[at + 2 :]
            if changed != ONE_TEXT:
                self.refusal(changed)

    def test_lost_colon(self) -> None:
        """A whole code behind an address that can not be read is damage, not a cut."""
        self.assertIn("damaged", self.refusal(ONE_TEXT.replace(":17411", "17411")))
        self.assertIn("damaged", self.refusal(TWO_TEXT.replace("]:17411,", "],")))

    def test_too_much(self) -> None:
        """An invite with something behind it is told from a damaged one."""
        self.assertIn("after its end", self.refusal(ONE_TEXT + " DIR"))
        self.assertIn("after its end", self.refusal(ONE_TEXT + ONE_TEXT[-8:]))
        self.assertIn("too long", self.refusal(ONE_TEXT + "a" * INVITE_CHARS))

    def test_not_an_invite(self) -> None:
        """Something else altogether is told what an invite looks like."""
        for text in ("", "hello", "https://tracker.example:17411/", ONE_TEXT[1:], "tp2p:x:1:a", "magnet:?xt=urn"):
            self.assertIn("not an invite", self.refusal(text), text)

    def test_other_version(self) -> None:
        """An invite of a later version says so, whether by its first word or by its format byte."""
        self.assertIn("another version", self.refusal(ONE_TEXT.replace("tp2p1", "tp2p2")))
        head = ONE_TEXT[: ONE_TEXT.rindex(":") + 1]
        for body in (b"\x04" + SECRET + PIN, b"\x21" + SECRET + PIN, b"\x00", b"\x01" + SECRET + PIN + b"more"):
            self.assertIn("another version", self.refusal(code_for(head, body)))

    def test_bad_address_under_a_good_checksum(self) -> None:
        """A hostile invite, checksum and all, still names no impossible tracker."""
        for address in ("-x:1", "x/y:1", "[fe80::1%eth0]:1", "[1.2.3.4]:1", "[::1]", ":1", "h:0", "h:01", "h:99999"):
            head = f"tp2p1:{address}:"
            self.refusal(code_for(head, b"\x01" + SECRET + PIN))
        self.refusal(code_for("tp2p1:b\u00fccher.example:1:", b"\x01" + SECRET + PIN))

    @given(st.one_of(st.text(max_size=60), st.text("tp2:1,[]a", max_size=60).map("tp2p1:".__add__)))
    def test_only_bad_invite_escapes(self, text: str) -> None:
        """Whatever is pasted gives BadInvite and no other error."""
        self.refusal(text)

    @given(INVITES, st.data())
    def test_tells_no_secret(self, invite: Invite, data: st.DataObject) -> None:
        """No sentence about a damaged invite repeats its code, which may be good enough to enter."""
        text = invite.text()
        at = data.draw(st.integers(0, len(text) - 1))
        changed = text[:at] + data.draw(st.sampled_from(":,.xab1 []")) + text[at + 1 :]
        code = text[text.rindex(":") + 1 :]
        for parse in (Invite.parse, TrackerAddress.parse):
            try:
                parse(changed)
            except BadInvite as error:
                for start in range(0, len(code) - 8):
                    self.assertNotIn(code[start : start + 8], str(error))


class TrackerAddressTests(SynchronousTestCase):
    """Where a tracker listens, as an option of the command line has it."""

    def test_vectors(self) -> None:
        """HOST:PORT:PIN is written and read, with IPv6 in brackets."""
        for address, text in {
            TrackerAddress("tracker.example", 17411, PIN): "tracker.example:17411:caireeyuculbogazdinryhi6d4",
            TrackerAddress("::1", 1, bytes(16)): "[::1]:1:" + "a" * 26,
        }.items():
            self.assertEqual(address.text(), text)
            self.assertEqual(TrackerAddress.parse(text), address)
            self.assertEqual(TrackerAddress.parse(f" {text.upper()}\n"), address)

    @given(ADDRESSES)
    def test_round_trip(self, address: TrackerAddress) -> None:
        """Every address is read back as it was written."""
        self.assertEqual(TrackerAddress.parse(address.text()), address)

    def test_canonical(self) -> None:
        """A host is kept in the one form that all its spellings share."""
        self.assertEqual(TrackerAddress("Tracker.Example", 1, PIN), TrackerAddress("tracker.example", 1, PIN))
        self.assertEqual(TrackerAddress("2001:DB8:0:0::1", 1, PIN).host, "2001:db8::1")

    def test_refused(self) -> None:
        """What is no tracker is refused with a sentence that says how to write one."""
        pin = "a" * 26
        for text in ("", "host", "host:1", f"host:{pin}", f"host:x:{pin}", f"::1:1:{pin}", f"h:1:{pin[1:]}", ONE_TEXT):
            with self.assertRaises(BadInvite, msg=text):
                TrackerAddress.parse(text)
        for host, port in (("", 1), ("a b", 1), ("\u00e9", 1), ("fe80::1%1", 1), ("[::1]", 1), ("h", 0), ("h", 65536)):
            with self.assertRaises(BadInvite, msg=host):
                TrackerAddress(host, port, PIN)
        with self.assertRaisesRegex(BadInvite, re.escape("26 characters")):
            evolve(ONE.trackers[0], pin=bytes(15))
