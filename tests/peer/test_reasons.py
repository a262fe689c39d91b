"""The rules by which one reason is chosen, and its sentence."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.peer.reasons import SUMMARIES, Facts, Fetched, Holder, Peerwide, Phase, Way, of_phase, of_want, reason
from twistedp2p.peer.troubles import Code, Trouble

LINK = Trouble(Code.KIND_NOT_SHARED, "It is a link.")
UNREADABLE = Trouble(Code.UNREADABLE, "No permission.")
IN_THE_WAY = Trouble(Code.OBSTRUCTED, "A link is in its place.")
FULL = Trouble(Code.NO_SPACE, "The disk is full.")
HERE = Facts(there=True, known=True)
MISSING = Facts(known=True, settled=False)
SAVED = Facts(there=True, changed=True)
OFFLINE = Peerwide(connected=False, caught=False, acting=False, tracker_trouble="Nobody answers.")
ANNA = Holder("anna", Way.LINKED)


class OrderTests(SynchronousTestCase):
    """Of several things that are true the first is the reason."""

    def code(self, facts: Facts) -> Code:
        """Return the code of the reason."""
        return reason(facts).code

    def test_the_whole_peer_comes_first(self) -> None:
        """A peer that rests, or whose folder is away, has no other reasons."""
        gone = Trouble(Code.FOLDER_UNUSABLE, "The mark is missing.")
        for facts in (HERE, MISSING, SAVED, Facts()):
            self.assertEqual(self.code(evolve(facts, peer=Peerwide(paused=True, trouble=gone))), Code.PAUSED)
            self.assertEqual(self.code(evolve(facts, peer=Peerwide(trouble=gone), local=LINK)), Code.FOLDER_UNUSABLE)

    def test_what_stays_local(self) -> None:
        """A link is one whatever else is true; but where the share has a file, it is in the way of that."""
        self.assertEqual(self.code(Facts(there=True, local=LINK)), Code.KIND_NOT_SHARED)
        self.assertEqual(self.code(evolve(MISSING, there=True, local=LINK)), Code.KIND_NOT_SHARED)
        self.assertEqual(self.code(evolve(MISSING, there=True, local=LINK, error=IN_THE_WAY)), Code.OBSTRUCTED)
        self.assertEqual(self.code(evolve(MISSING, local=Trouble(Code.IGNORED, "Ignored."))), Code.IGNORED)

    def test_nothing_of_that_name(self) -> None:
        """What is nowhere is unknown; if the others were not heard, that is said too."""
        self.assertEqual(self.code(Facts()), Code.UNKNOWN_PATH)
        self.assertIn("not heard in full", reason(Facts(OFFLINE)).text)

    def test_what_was_not_taken_in(self) -> None:
        """What this disk has is told by where the observer is with it, then by what it can not do."""
        for phase, code in (
            (Phase.QUIET, Code.WAITING_QUIET),
            (Phase.CHANGING, Code.CHANGING),
            (Phase.MISSING, Code.SECOND_LOOK),
            (Phase.DUE, Code.NOT_READ_YET),
            (Phase.SEEN, Code.QUEUED),
            (None, Code.NOT_READ_YET),
        ):
            self.assertEqual(self.code(evolve(SAVED, phase=phase)), code)
            if phase is not None:
                self.assertEqual(of_phase(phase, Peerwide()).code, code)
        self.assertEqual(self.code(evolve(SAVED, local=UNREADABLE)), Code.UNREADABLE)
        self.assertEqual(self.code(evolve(SAVED, phase=Phase.SEEN, peer=OFFLINE)), Code.NO_TRACKER)
        waiting = Peerwide(caught=False, acting=False)
        self.assertEqual(self.code(evolve(SAVED, phase=Phase.SEEN, peer=waiting)), Code.NOT_CAUGHT_UP)
        self.assertEqual(self.code(evolve(SAVED, phase=Phase.SEEN, peer=Peerwide(stuck=FULL))), Code.NO_SPACE)
        self.assertEqual(self.code(evolve(SAVED, phase=Phase.DUE, error=FULL)), Code.NO_SPACE)

    def test_what_is_not_here(self) -> None:
        """What went wrong comes before what is waited for, and that before the fetch."""
        wanted = evolve(MISSING, fetched=(Fetched(10, 0),))
        self.assertEqual(self.code(evolve(wanted, error=FULL, peer=OFFLINE)), Code.NO_SPACE)
        self.assertEqual(self.code(evolve(wanted, peer=OFFLINE)), Code.NO_TRACKER)
        self.assertEqual(self.code(evolve(wanted, peer=Peerwide(acting=False))), Code.NOT_CAUGHT_UP)
        self.assertEqual(self.code(wanted), Code.NO_HOLDER)
        self.assertEqual(self.code(MISSING), Code.QUEUED)
        self.assertEqual(self.code(evolve(MISSING, peer=Peerwide(stuck=FULL))), Code.NO_SPACE)
        self.assertEqual(self.code(evolve(MISSING, local=UNREADABLE)), Code.UNREADABLE)
        writing = Trouble(Code.PROGRAM_WRITING, "A program is still writing.")
        self.assertEqual(self.code(evolve(MISSING, error=writing)), Code.PROGRAM_WRITING)

    def test_what_others_were_not_told(self) -> None:
        """What is safe here waits for the tracker to know."""
        untold = evolve(HERE, announced=False)
        self.assertEqual(self.code(untold), Code.NOT_ANNOUNCED)
        self.assertEqual(self.code(evolve(untold, peer=OFFLINE)), Code.NO_TRACKER)
        self.assertIn("(Nobody answers)", reason(evolve(untold, peer=OFFLINE)).text)
        self.assertEqual(self.code(evolve(untold, peer=Peerwide(acting=False))), Code.NOT_CAUGHT_UP)

    def test_in_sync(self) -> None:
        """Nothing is left to do, for what is there and for what was deleted."""
        self.assertEqual(self.code(HERE), Code.IN_SYNC)
        self.assertIn("deleted", reason(Facts(known=True, deleted=True)).text)

    @given(
        st.builds(
            Facts,
            peer=st.builds(Peerwide, paused=st.booleans(), connected=st.booleans(), caught=st.booleans()),
            local=st.sampled_from([None, LINK, UNREADABLE]),
            there=st.booleans(),
            changed=st.booleans(),
            phase=st.sampled_from([None, *Phase]),
            known=st.booleans(),
            deleted=st.booleans(),
            settled=st.booleans(),
            error=st.sampled_from([None, FULL, IN_THE_WAY]),
            announced=st.booleans(),
        )
    )
    def test_there_is_always_a_reason(self, facts: Facts) -> None:
        """Whatever is true, there is one sentence; and nothing is in sync of which something is wrong."""
        found = reason(facts)
        self.assertTrue(found.text.endswith("."))
        if facts.error or (facts.known and not facts.settled) or facts.changed or facts.peer.paused:
            self.assertNotEqual(found.code, Code.IN_SYNC)

    def test_summaries(self) -> None:
        """Each code can be said of many files."""
        self.assertEqual(SUMMARIES.keys(), {*Code})


class WantTests(SynchronousTestCase):
    """Why a content that is wanted is not here."""

    def text(self, fetched: Fetched, code: Code, peer: Peerwide | None = None) -> str:
        """Return the sentence, whose code must be this."""
        found = of_want(fetched, peer or Peerwide())
        self.assertEqual(found.code, code)
        return found.text

    def test_arriving(self) -> None:
        """Who sends it, and how much of it is here."""
        fetched = Fetched(12_000_000, 3_456_789, (ANNA,), asked=("anna", "ben"))
        self.assertEqual(
            self.text(fetched, Code.FETCHING), "It is arriving from anna and ben: 3.46 MB of 12 MB are here."
        )
        self.assertNotIn("here", self.text(evolve(fetched, done=0), Code.FETCHING))
        self.assertIn("lost its name", self.text(evolve(fetched, losing=True), Code.FETCHING))
        many = evolve(fetched, asked=("a", "b", "c", "d", "e"))
        self.assertIn("from a, b and 3 others", self.text(many, Code.FETCHING))

    def test_waiting_for_its_turn(self) -> None:
        """Somebody who can be asked has it."""
        fetched = Fetched(999, 0, (Holder("ben", Way.CLOSED, "Firewall."), ANNA))
        self.assertEqual(self.text(fetched, Code.QUEUED), "It waits for its turn to come from anna.")
        self.assertIn("500 B of 999 B", self.text(evolve(fetched, done=500), Code.QUEUED))

    def test_nobody_has_it(self) -> None:
        """Who had it is named; without a tracker nobody can tell who has it."""
        self.assertIn("start a member that has it", self.text(Fetched(1, 0), Code.NO_HOLDER))
        self.assertIn("; ben had it:", self.text(Fetched(1, 0, gone=("ben",)), Code.NO_HOLDER))
        self.assertIn("Nobody answers", self.text(Fetched(1, 0), Code.NO_TRACKER, OFFLINE))

    def test_nobody_can_be_asked(self) -> None:
        """Why no connection comes about, whether a third could help, and which versions do not fit."""
        closed = Holder("ben", Way.CLOSED, "ben can not be reached; open its port.")
        foreign = Holder("carl", Way.OTHER_VERSION, "carl speaks no version that I speak: update twistedp2p there.")
        alone = self.text(Fetched(1, 0, (closed,)), Code.UNREACHABLE)
        self.assertIn("no third", alone)
        self.assertIn(closed.why, alone)
        self.assertIn("nobody else", self.text(Fetched(1, 0, (closed, foreign), others=2), Code.UNREACHABLE))
        self.assertIn(foreign.why, self.text(Fetched(1, 0, (foreign,)), Code.HOLDER_INCOMPATIBLE))
