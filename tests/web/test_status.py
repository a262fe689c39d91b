"""The status of a peer as values."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import ProtocolViolation
from twistedp2p.web.status import (
    Failed,
    Missing,
    Moving,
    NotShared,
    Peer,
    Rates,
    Reason,
    Status,
    Tracker,
    Trash,
    Waits,
    Why,
    parse_status,
    parse_why,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FULL = {
    "version": "0.1.0",
    "api": 1,
    "folder": "/home/ada/shared",
    "share": "00" * 20,
    "node": "n" * 32,
    "name": "ada",
    "replica": "11" * 8,
    "state": "syncing",
    "in_sync": False,
    "tracker": {"address": "192.0.2.7:17411", "connected": True, "since": 1.5},
    "peers": [
        {
            "node": "m" * 32,
            "name": "bob",
            "addresses": ["192.0.2.8:4001"],
            "connected": True,
            "bytes_in": 10,
            "bytes_out": 20,
            "rate_in": 1.0,
            "rate_out": 2,
        }
    ],
    "files": 10,
    "folders": 2,
    "bytes": 1000,
    "missing": {"files": 4, "bytes": 400, "first": ["a", "b"]},
    "moving": [{"path": "a", "size": 100, "done": 50, "rate": 25.0, "from": ["bob"]}],
    "rates": {"in": 25.0, "out": 5.0},
    "not_shared": [{"path": "link", "reason": "a symbolic link"}],
    "errors": [{"path": "b", "text": "The disk is full.", "code": "no-space"}],
    "waiting": [{"path": "b", "code": "no-space", "text": "No room."}],
    "reasons": [{"code": "no-space", "files": 1203, "text": "there is no room on the disk"}],
    "trash": {"files": 1, "bytes": 5, "days": 7, "since": 1_000_000.0, "until": 1_604_800.0},
}


class StatusTests(SynchronousTestCase):
    """From JSON to values."""

    def test_all_of_it(self) -> None:
        """Every field of version 1 arrives."""
        self.assertEqual(
            parse_status(FULL),
            Status(
                folder="/home/ada/shared",
                version="0.1.0",
                share="00" * 20,
                node="n" * 32,
                name="ada",
                replica="11" * 8,
                state="syncing",
                tracker=Tracker("192.0.2.7:17411", True, 1.5),
                peers=(Peer("m" * 32, "bob", ("192.0.2.8:4001",), True, 10, 20, 1.0, 2.0),),
                files=10,
                folders=2,
                bytes=1000,
                missing=Missing(4, 400, ("a", "b")),
                moving=(Moving("a", 100, 50, 25.0),),
                rates=Rates(25.0, 5.0),
                not_shared=(NotShared("link", "a symbolic link"),),
                errors=(Failed("b", "The disk is full.", "no-space"),),
                waiting=(Waits("b", "no-space", "No room."),),
                reasons=(Reason("no-space", 1203, "there is no room on the disk"),),
                trash=Trash(1, 5, 7, 1_000_000.0, 1_604_800.0),
            ),
        )

    def test_why(self) -> None:
        """The answer about one path is understood, also if it says less; anything else is an error of ours."""
        self.assertEqual(parse_why({"path": "f"}), Why("f"))
        answer = {"path": "d", "code": "in-sync", "text": "It is.", "waiting": FULL["waiting"], "later": 1}
        self.assertEqual(parse_why(answer), Why("d", "in-sync", "It is.", (Waits("b", "no-space", "No room."),)))
        self.assertRaises(ProtocolViolation, parse_why, {"text": 1})

    def test_other_version(self) -> None:
        """A peer that says less, or more, or is in a state of a later version, is understood."""
        self.assertEqual(parse_status({"folder": "/x"}), Status("/x"))
        self.assertEqual(parse_status({"folder": "/x", "later": 1, "state": "resting"}).state, "resting")
        self.assertEqual(parse_status({"folder": "/x", "rates": {}}).rates, Rates())

    @given(st.data())
    def test_any_answer(self, data: st.DataObject) -> None:
        """Whatever stands in one place of an answer, it is understood, or an error of ours."""
        answer: dict[str, Any] = dict(FULL)
        field = data.draw(st.sampled_from(sorted(FULL)))
        answer[field] = data.draw(JSON)
        for parse in (parse_status, parse_why):
            for said in (answer, answer[field]):
                try:
                    parse(said)
                except ProtocolViolation as error:
                    self.assertIn("of another version", str(error))

    def test_not_a_status(self) -> None:
        """Anything else is an error of ours, not a crash."""
        wrong: list[object] = [None, [], {}, {"folder": 1}, {"folder": "/x", "rates": 7}]
        for data in (*wrong, {"folder": "/x", "peers": [{}]}):
            self.assertRaises(ProtocolViolation, parse_status, data)
