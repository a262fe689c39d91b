"""What broke in the queue of a downloader: yuran1811/hcmus-socket and hbnnnnnnn/CN-socket-python-project."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.queue import parse_queue
from twistedp2p.transfer.files.fair import Priority

QUEUE = """
# holiday
films/dune.mkv CRITICAL
"two words.txt" high
'a name with "quotes".txt'
plain
"""


class QueueTests(SynchronousTestCase):
    """What may stand in a queue."""

    def test_words_and_blanks(self) -> None:
        """There a name had no blanks, and CRITICAL counted as the lowest. Here a name is quoted, and a word a word."""
        wanted, wrong = parse_queue(QUEUE, Priority.NORMAL)
        self.assertEqual(wrong, [])
        self.assertEqual(
            wanted,
            {
                "films/dune.mkv": Priority.CRITICAL,
                "two words.txt": Priority.HIGH,
                'a name with "quotes".txt': Priority.NORMAL,
                "plain": Priority.NORMAL,
            },
        )

    def test_words_that_are_none(self) -> None:
        """There an unknown priority was never served, or read -1 bytes. Here the line is named; the others go on."""
        for line in ("a urgent", "a -1", "two words high", '"open', "../../secret.txt"):
            wanted, wrong = parse_queue(f"first\n{line}\nlast low", Priority.NORMAL)
            self.assertEqual(wanted, {"first": Priority.NORMAL, "last": Priority.LOW}, line)
            self.assertEqual(len(wrong), 1)
            self.assertTrue(wrong[0].startswith("line 2: "), wrong)
