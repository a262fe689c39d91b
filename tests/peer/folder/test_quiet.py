"""When a path that the watch hinted at is worth a look."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.limits import QUIET_AFTER_CLOSE, QUIET_AFTER_WRITE
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.hints import Hint, What
from twistedp2p.peer.folder.quiet import Quiet

A, B = RelPath("a"), RelPath("b")
SHORT, LONG = QUIET_AFTER_CLOSE, QUIET_AFTER_WRITE


class QuietTests(SynchronousTestCase):
    """How long a path waits."""

    def setUp(self) -> None:
        self.quiet = Quiet()

    def test_what_is_complete_waits_briefly(self) -> None:
        """Closed, removed, renamed, new folder, chmod: due after the short time, and only once."""
        for what in (What.CLOSED, What.GONE, What.MOVED_IN, What.MOVED_AWAY, What.FOLDER, What.ATTRIB):
            self.quiet.add(Hint(A, what), 5.0)
            self.assertEqual(self.quiet.next_at(), 5.0 + SHORT)
            self.assertEqual(self.quiet.due(5.0 + SHORT / 2), [])
            self.assertTrue(self.quiet.is_waiting("a"))
            self.assertEqual(self.quiet.due(5.0 + SHORT), ["a"])
            self.assertFalse(self.quiet.is_waiting("a"))
            self.assertEqual((self.quiet.due(99.0), self.quiet.next_at()), ([], None))

    def test_what_is_being_written_waits_until_nothing_came_for_long(self) -> None:
        """Each write begins the long time anew, so a slow download is not read by halves."""
        self.quiet.add(Hint(A, What.CREATED), 0.0)
        for tenth in range(1, 50):
            self.quiet.add(Hint(A, What.MODIFIED), tenth / 10)
            self.assertEqual(self.quiet.due(tenth / 10 + LONG * 0.99), [])
        self.assertEqual(self.quiet.due(4.9 + LONG), ["a"])

    def test_closing_ends_the_wait(self) -> None:
        """A file that was written and closed is due after the short time; one that is written on is not."""
        self.quiet.add(Hint(A, What.MODIFIED), 0.0)
        self.quiet.add(Hint(A, What.CLOSED), 0.1)
        self.assertEqual(self.quiet.next_at(), 0.1 + SHORT)
        self.quiet.add(Hint(A, What.MODIFIED), 0.105)
        self.assertEqual(self.quiet.due(0.1 + SHORT), [])
        self.assertEqual(self.quiet.due(0.105 + LONG), ["a"])

    def test_a_save_after_a_save_waits_anew(self) -> None:
        """The last moment at which a closed file is due counts from the last time it was being written."""
        self.quiet.add(Hint(A, What.CLOSED), 0.0)
        for tenth in range(1, 30):
            self.quiet.add(Hint(A, What.MODIFIED), tenth / 10)
        self.quiet.add(Hint(A, What.CLOSED), 3.0)
        self.assertEqual(self.quiet.next_at(), 3.0 + SHORT)

    def test_a_chmod_does_not_finish_a_save(self) -> None:
        """Permissions that are set while a file is being written do not make it due."""
        self.quiet.add(Hint(A, What.MODIFIED), 0.0)
        self.quiet.add(Hint(A, What.ATTRIB), 0.1)
        self.assertEqual(self.quiet.due(0.5), [])

    def test_a_file_that_is_closed_all_the_time_gets_its_turn(self) -> None:
        """A log that is appended to every few milliseconds is due after the long time at the latest."""
        now = 0.0
        while not self.quiet.due(now):
            self.quiet.add(Hint(A, What.CLOSED), now)
            now += SHORT / 2
            self.assertLess(now, LONG + SHORT)
        self.assertGreaterEqual(now, LONG)

    def test_a_rename_is_due_as_one(self) -> None:
        """Both paths of a rename are due at the same moment, so that one look sees them together."""
        self.quiet.add(Hint(B, What.MODIFIED), 0.0)
        self.quiet.add(Hint(A, What.MOVED_IN, moved_from=B), 0.1)
        self.assertEqual(sorted(self.quiet.due(0.1 + SHORT)), ["a", "b"])

    @given(
        st.lists(
            st.tuples(st.sampled_from([A, B]), st.sampled_from(list(What)), st.floats(0, 2, width=16)), max_size=30
        )
    )
    def test_every_hinted_path_is_due_in_the_end(self, hints: list[tuple[RelPath, What, float]]) -> None:
        """Whatever comes in whatever order: `next_at` is when something is due, and nothing is forgotten or doubled."""
        quiet, now = Quiet(), 0.0
        waiting: set[str] = set()
        for path, what, wait in hints:
            now += wait
            for due in quiet.due(now):
                waiting.remove(due)
            quiet.add(Hint(path, what), now)
            waiting.add(path.text)
        while waiting:
            at = quiet.next_at()
            assert at is not None
            found = quiet.due(at)
            self.assertTrue(found)
            waiting.difference_update(found)
        self.assertIsNone(quiet.next_at())
