"""What a peer tells about itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import __version__
from twistedp2p.identity.device import node_text
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.peer.assembly import Peer
from twistedp2p.peer.failures import Failures
from twistedp2p.peer.folder.scan import IGNORED
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.index_tally import Totals
from twistedp2p.peer.status import StatusBoard
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Want
from twistedp2p.versions import Dot

ME, ANNA, BEN = b"m" * 20, b"a" * 20, b"b" * 20
IN_THE_WAY = Trouble(Code.OBSTRUCTED, "It is in the way.")
INFO = PeerInfo(2, ANNA, "anna", (1,), (Address("192.0.2.1", 1), Address("2001:db8::1", 2)))


def want(number: int) -> Want:
    """Return the want of a file of `number` bytes."""
    return Want(f"p{number:03}", Dot(b"r" * 8, 1), b"c" * 32, number, b"")


class StatusTests(SynchronousTestCase):
    """The board of a peer whose rooms are plain values."""

    def setUp(self) -> None:
        self.now = 100.0
        self.came: dict[bytes, int] = {}
        self.links: list[Any] = []
        self.wants: list[Want] = []
        self.missing: int | None = None
        self.oldest: str | None = None
        self.incompatible = ""
        self.asked: dict[bytes, set[bytes]] = {}
        self.sources: tuple[set[bytes], set[bytes]] = (set(), set())
        self.peer = SimpleNamespace(
            name="desk",
            member=SimpleNamespace(
                folder="/home/me/share",
                keys=SimpleNamespace(share_id=b"s" * 20),
                key=SimpleNamespace(node_id=ME),
            ),
            index=SimpleNamespace(
                rid=b"rid-of-a",
                totals=lambda: Totals(7, 2, 1000, 3, 400),
                trash_totals=lambda: (4, 50),
                oldest_trash=lambda: self.oldest,
            ),
            sync=SimpleNamespace(
                in_sync=True,
                errors={},
                failures=Failures(Clock(), lambda path: None),
                not_taken=lambda: [],
                first_list=SimpleNamespace(held_back=False),
                wants=SimpleNamespace(all=lambda: self.wants),
            ),
            bench=SimpleNamespace(ignoring=SimpleNamespace(troubles=list)),
            observer=SimpleNamespace(trouble=None, unreadable={}, phases=dict, hidden={}, scanning=False, scanned=9),
            steps=SimpleNamespace(published=5, trash_days=30, caught=True, may_act=True, untold=lambda: []),
            client=SimpleNamespace(welcome=object(), tracker=SimpleNamespace(address="192.0.2.9:17410")),
            tracking=SimpleNamespace(since=None, trouble="", clock_trouble="", clock_offset=None),
            addresses=lambda: (Address("192.0.2.1", 17412), Address("2001:db8::1", 17412)),
            fetcher=SimpleNamespace(
                progress=lambda: SimpleNamespace(by_node=dict(self.came)),
                missing=lambda content: self.missing,
                asked=lambda: self.asked,
            ),
            links=SimpleNamespace(
                live=lambda: self.links, incompatible=lambda node: self.incompatible, link=lambda node: None,
                unreachable=dict,
            ),
            holdings=SimpleNamespace(
                peers={2: INFO},
                sources=lambda want: self.sources,
                gone_holders=lambda path: ("ben",),
                name_of=lambda node: "anna",
            ),
        )
        self.board = StatusBoard(cast(Peer, self.peer), lambda: self.now, lambda: 1_700_000_000.0 + self.now)

    def traffic(self, seconds: float, came: int, went: int) -> None:
        """Let time pass, at the end of which so many bytes more have come from Anna, and gone to her."""
        self.now += seconds
        self.came[ANNA] = self.came.get(ANNA, 0) + came
        before = self.links[0].bytes_out if self.links else 0
        self.links = [SimpleNamespace(node=ANNA, bytes_out=before + went)]
        self.board.sample()

    def test_who_and_what(self) -> None:
        """Names, totals and the trash are told as the rooms say them."""
        status = self.board.status()
        told = {name: status[name] for name in ("version", "api", "folder", "share", "node", "name", "replica")}
        self.assertEqual(
            told,
            {
                "version": __version__,
                "api": 1,
                "folder": "/home/me/share",
                "share": (b"s" * 20).hex(),
                "node": node_text(ME),
                "name": "desk",
                "replica": b"rid-of-a".hex(),
            },
        )
        self.assertEqual(status["addresses"], ["192.0.2.1:17412", "[2001:db8::1]:17412"])
        self.assertEqual((status["files"], status["folders"], status["bytes"]), (7, 2, 1000))
        self.assertEqual((status["scanned"], status["published"]), (9, 5))
        self.assertEqual(status["trash"], {"files": 4, "bytes": 50, "days": 30, "since": None, "until": None})

    def test_how_long_the_trash_is_kept(self) -> None:
        """The trash says since when its oldest file is there, and until when."""
        self.oldest = "20231114/2213200000000001.f"
        trash = self.board.status()["trash"]
        self.assertEqual((trash["since"], trash["until"]), (1_700_000_000, 1_700_000_000 + 30 * 86_400))

    def test_what_is_ignored(self) -> None:
        """What is ignored is counted apart from what can not be shared; the list's troubles are told at its path."""
        self.peer.observer.hidden = {"x": "It is a link.", "y": IGNORED, "z": IGNORED}
        self.peer.bench.ignoring.troubles = lambda: [Trouble(Code.ERROR, "Too long.")]
        self.peer.sync.first_list.held_back = True
        status = self.board.status()
        self.assertEqual(([{"path": "x", "reason": "It is a link."}], 2), (status["not_shared"], status["ignored"]))
        self.assertEqual([IGNORE_NAME] * 2, [error["path"] for error in status["errors"]])
        self.assertIn("is not here yet", status["errors"][1]["text"])

    def test_it_is_json(self) -> None:
        """All of it can be written as JSON and reads the same again."""
        self.traffic(1, 10, 20)
        self.wants = [want(1)]
        self.peer.observer.hidden = {"x": "It is a link."}
        status = self.board.status()
        self.assertEqual(json.loads(json.dumps(status, allow_nan=False)), status)

    def test_states(self) -> None:
        """A scan is told before a missing tracker, and that before being in sync or not."""
        states = []
        changes: list[Callable[[], None]] = [
            lambda: setattr(self.peer.sync, "in_sync", False),
            lambda: setattr(self.peer.client, "welcome", None),
            lambda: setattr(self.peer.observer, "scanning", True),
        ]
        states.append(self.board.status()["state"])
        for change in changes:
            change()
            states.append(self.board.status()["state"])
        self.assertEqual(states, ["in-sync", "syncing", "waiting-for-tracker", "scanning"])

    def test_the_tracker(self) -> None:
        """When the session began or ended is told in seconds since 1970, None before the first one."""
        expected = {
            "address": "192.0.2.9:17410",
            "connected": True,
            "since": None,
            "trouble": "",
            "clock_offset": None,
        }
        self.assertEqual(self.board.status()["tracker"], expected)
        self.peer.tracking.since = 60.0
        self.peer.tracking.trouble = "Nobody answers."
        self.peer.tracking.clock_offset = -3.5
        self.peer.client.welcome = None
        self.now = 160.0
        expected = {
            "address": "192.0.2.9:17410",
            "connected": False,
            "since": 1_700_000_060.0,
            "trouble": "Nobody answers.",
            "clock_offset": -3.5,
        }
        self.assertEqual(self.board.status()["tracker"], expected)

    def test_what_is_missing(self) -> None:
        """Counts are complete, of the paths only the first are named."""
        self.wants = [want(number) for number in range(30)]
        status = self.board.status()
        first = [f"p{number:03}" for number in range(20)]
        self.assertEqual(status["missing"], {"files": 3, "bytes": 400, "first": first})
        self.assertEqual(status["moving"][19], {"path": "p019", "size": 19, "done": 0, "rate": 0.0})
        self.assertEqual(len(status["moving"]), 20)

    def test_what_moves(self) -> None:
        """A file that arrives says how much of it is here, and how fast it has come over the last seconds."""
        self.wants, self.missing = [want(900)], 900
        self.board.sample()
        self.now, self.missing = 102.0, 300
        status = self.board.status()
        self.assertEqual(status["moving"], [{"path": "p900", "size": 900, "done": 600, "rate": 300.0}])

    def test_reasons(self) -> None:
        """What is wrong with the folder comes before single paths; lists end after two hundred paths."""
        self.peer.sync.failures.errors = {f"e{number:03}": IN_THE_WAY for number in range(300)}
        self.peer.observer.hidden = {f"h{number:03}": "It is a link." for number in range(300)}
        self.peer.observer.trouble = Trouble(Code.FOLDER_UNUSABLE, "The mark is missing.")
        status = self.board.status()
        self.assertEqual(
            status["errors"][:2],
            [
                {"path": "", "code": "folder-unusable", "text": "The mark is missing."},
                {"path": "e000", "code": "obstructed", "text": "It is in the way."},
            ],
        )
        self.assertEqual(len(status["errors"]), 201)
        self.assertEqual(status["not_shared"][199], {"path": "h199", "reason": "It is a link."})
        self.assertEqual(len(status["not_shared"]), 200)

    def test_what_concerns_all_is_told_once(self) -> None:
        """A full disk is one problem, whatever the number of files that wait for room; the watch's limit another."""
        failures = self.peer.sync.failures
        failures.errors = {f"e{number}": Trouble(Code.NO_SPACE, f"{number} MiB are missing.") for number in range(9)}
        failures.troubles = {"watch": Trouble(Code.TOO_MANY_WATCHES, "No more watches.")}
        self.peer.observer.unreadable = {"r": Trouble(Code.UNREADABLE, "No permission.")}
        self.assertEqual(
            [(error["path"], error["code"]) for error in self.board.status()["errors"]],
            [("", "too-many-watches"), ("", "no-space"), ("r", "unreadable")],
        )

    def test_what_is_wrong_with_others(self) -> None:
        """A clock far off and a member of another version are problems without a path."""
        self.peer.tracking.clock_trouble = "The clock is a day behind."
        self.incompatible = "anna speaks no version that I speak."
        self.assertEqual(
            self.board.status()["errors"],
            [
                {"path": "", "code": "clock", "text": "The clock is a day behind."},
                {"path": "", "code": "holder-incompatible", "text": "anna speaks no version that I speak."},
            ],
        )

    def test_what_is_not_in_sync(self) -> None:
        """The first paths have their reason, and each reason says how many files have it."""
        self.wants = [want(number) for number in range(30)]
        self.peer.sync.errors = {"p003": IN_THE_WAY}
        status = self.board.status()
        self.assertEqual(len(status["waiting"]), 20)
        self.assertEqual(status["waiting"][0], {"path": "p003", "code": "obstructed", "text": "It is in the way."})
        self.assertEqual((status["waiting"][1]["path"], status["waiting"][1]["code"]), ("p000", "no-holder"))
        self.assertIn("ben had it", status["waiting"][1]["text"])
        self.assertEqual(
            status["reasons"],
            [
                {"code": "no-holder", "files": 29, "text": "no living member has them"},
                {"code": "obstructed", "files": 1, "text": "something is in their place"},
            ],
        )
        self.asked = {b"c" * 32: {ANNA}}
        self.assertIn("arriving from anna", self.board.status()["waiting"][1]["text"])

    def test_what_may_not_be_planned_yet(self) -> None:
        """Before the others were heard, all that is missing waits for that."""
        self.peer.steps.may_act = False
        self.peer.index.unsettled = lambda limit: ["a", "b"]
        status = self.board.status()
        self.assertEqual(next((waits["path"], waits["code"]) for waits in status["waiting"]), ("a", "not-caught-up"))
        self.assertEqual([(found["code"], found["files"]) for found in status["reasons"]], [("not-caught-up", 3)])
        self.board.paused_since = 1.0
        self.assertEqual({waits["code"] for waits in self.board.status()["waiting"]}, {"paused"})

    def test_much_that_waits_is_not_gathered_all_the_time(self) -> None:
        """When gathering the reasons takes a while, the last ones are told for a while longer."""
        self.wants = [want(1)]
        moments = iter([100.0, 101.0])
        self.board._clock = lambda: next(moments, self.now)
        self.assertEqual(len(self.board._waiting().first), 1)
        self.wants = []
        self.now = 119.0
        self.assertEqual(len(self.board._waiting().first), 1)
        self.now = 120.0
        self.assertEqual(len(self.board._waiting().first), 0)

    def test_a_peer(self) -> None:
        """Another member has its name, where it is reached, and what came and went."""
        self.traffic(1, 100, 40)
        self.assertEqual(
            self.board.status()["peers"],
            [
                {
                    "node": node_text(ANNA),
                    "name": "anna",
                    "addresses": ["192.0.2.1:1", "[2001:db8::1]:2"],
                    "connected": True,
                    "bytes_in": 100,
                    "bytes_out": 40,
                    "rate_in": 0.0,
                    "rate_out": 0.0,
                }
            ],
        )
        self.links = []
        self.peer.holdings.peers = {3: evolve(INFO, member=3, node=BEN)}
        peer = self.board.status()["peers"][0]
        self.assertEqual((peer["node"], peer["connected"], peer["bytes_in"]), (node_text(BEN), False, 0))

    def test_the_first_status_has_no_rates(self) -> None:
        """There is no rate before time has passed."""
        self.came[ANNA] = 1000
        self.assertEqual(self.board.status()["rates"], {"in": 0, "out": 0})
        self.assertEqual(self.board.status()["rates"], {"in": 0, "out": 0})

    def test_rates_are_those_of_the_last_seconds(self) -> None:
        """A burst counts for five seconds, and is over then."""
        self.traffic(0, 0, 0)
        self.traffic(1, 500, 250)
        self.assertEqual(self.board.status()["rates"], {"in": 500.0, "out": 250.0})
        for _ in range(4):
            self.traffic(1, 0, 0)
        self.assertEqual(self.board.status()["rates"], {"in": 100.0, "out": 50.0})
        peer = self.board.status()["peers"][0]
        self.assertEqual((peer["rate_in"], peer["rate_out"]), (100.0, 50.0))
        for _ in range(2):
            self.traffic(1, 0, 0)
        self.assertEqual(self.board.status()["rates"], {"in": 0.0, "out": 0.0})

    def test_a_link_that_begins_anew_has_no_negative_rate(self) -> None:
        """The count of a new link begins at nothing; that is no traffic backwards."""
        self.traffic(0, 0, 1000)
        self.links = []
        self.traffic(1, 0, 10)
        self.assertEqual(self.board.status()["rates"], {"in": 0.0, "out": 0.0})

    def test_samples_take_no_memory(self) -> None:
        """However often the status is asked for, only the samples of the last seconds are kept."""
        for _ in range(1000):
            self.traffic(1, 1, 1)
        self.assertLessEqual(len(self.board._samples), 8)
