"""What is kept for a folder: what was chosen before is used where nothing is said, and can be forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.test_member import INVITE, MemberTestCase
from twistedp2p.errors import FolderUnusable
from twistedp2p.home import Home
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.settings import PAUSED, Settings, chosen, recalled

NOTHING = PeerOptions(Path("/x"), Home(Path("/h")))
EVERYTHING = evolve(NOTHING, listen=("tcp:1", "tcp:2"), advertise="box:7", name="desk", durable=False)
CHOICES: dict[str, Any] = {
    "listen": st.lists(st.text(), max_size=3).map(tuple),
    "advertise": st.none() | st.text(min_size=1),
    "name": st.none() | st.text(min_size=1),
    "durable": st.none() | st.booleans(),
}
OPTIONS = st.fixed_dictionaries(CHOICES).map(lambda fields: evolve(NOTHING, **fields))


class ChoiceTests(SynchronousTestCase):
    """The rules, as functions."""

    @given(OPTIONS)
    def test_round_trip(self, options: PeerOptions) -> None:
        """What was chosen, once through JSON, is what options that say nothing become."""
        self.assertEqual(recalled(NOTHING, json.loads(json.dumps(chosen(options)))), options)

    @given(OPTIONS, OPTIONS)
    def test_what_is_said_now_wins(self, now: PeerOptions, before: PeerOptions) -> None:
        """An option that is said has that value, another one that of before."""
        result = recalled(now, chosen(before))
        for name in CHOICES:
            said = getattr(now, name)
            self.assertEqual(getattr(result, name), getattr(before, name) if said in (None, ()) else said)

    def test_defaults(self) -> None:
        """Who asks for the defaults gets nothing of before."""
        options = evolve(NOTHING, defaults=True, name="lap")
        self.assertEqual(recalled(options, chosen(EVERYTHING)), options)

    def test_malformed(self) -> None:
        """What is kept and is not of the right kind is skipped, one by one."""
        malformed: list[object] = [None, [], 7, {"listen": "tcp:1"}, {"listen": [1]}, {"name": 7}, {"durable": "yes"}]
        for kept in malformed:
            self.assertEqual(recalled(NOTHING, kept), NOTHING)
        self.assertEqual(recalled(NOTHING, {"listen": 1, "name": "desk"}), evolve(NOTHING, name="desk"))


class FileTests(MemberTestCase):
    """The file."""

    def test_member(self) -> None:
        """A member opened with nothing said goes on as before; one opened with defaults forgets, for good."""
        self.opened(invite=INVITE, listen=("tcp:0",), name="desk", durable=False).close()
        again = self.opened(name="lap")
        self.assertEqual((again.options.listen, again.options.name, again.durable), (("tcp:0",), "lap", False))
        again.close()
        self.opened(defaults=True).close()
        last = self.opened()
        self.assertEqual((last.options.listen, last.options.name, last.durable), ((), None, True))

    def test_damaged(self) -> None:
        """A file that is damaged counts as empty, and is replaced by the next setting."""
        self.folder.mkdir()
        settings = Settings(self.folder)
        for damaged in (b"", b"\xff\x00", b"[1]", b'{"a": '):
            (self.folder / "settings.json").write_bytes(damaged)
            self.assertIsNone(settings.get("a"))
            settings.keep("a", 1)
            self.assertEqual(settings.get("a"), 1)

    def test_paused(self) -> None:
        """Since when it is paused is a number; anything else is not paused."""
        self.folder.mkdir()
        settings = Settings(self.folder)
        self.assertIsNone(settings.paused_since())
        for value, expected in ((1_700_000_000.5, 1_700_000_000.5), (None, None), ("x", None)):
            settings.keep(PAUSED, value)
            self.assertEqual(settings.paused_since(), expected)

    def test_no_place(self) -> None:
        """A setting that can not be kept is a sentence."""
        self.assertIn("can not be kept", str(self.assertRaises(FolderUnusable, Settings(self.folder).keep, "a", 1)))
