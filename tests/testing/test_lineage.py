"""Which conflict copies a conflict explains."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.testing.lineage import Lineage

COPY = "plan (conflict 2001-09-09 abcdef 0123abcd).txt"


class LineageTests(SynchronousTestCase):
    """Versions of one path, and a copy of one of them."""

    def setUp(self) -> None:
        self.lineage = Lineage()
        self.lineage.saved("anna", "plan.txt", b"1", None)

    def assert_explained(self, explained: bool, content: bytes, path: str = COPY) -> None:
        """Raise unless a copy with this content is explained, or not."""
        self.assertEqual([] if explained else [path], self.lineage.unexplained({path: content}))

    def test_chain(self) -> None:
        """Versions that were saved one over the other explain no copy."""
        self.lineage.saved("ben", "plan.txt", b"2", b"1")
        self.lineage.saved("anna", "plan.txt", b"3", b"2")
        for content in (b"1", b"2", b"3"):
            self.assert_explained(False, content)

    def test_conflict(self) -> None:
        """Two versions that know nothing of each other explain a copy of either, not of what both replaced."""
        self.lineage.saved("ben", "plan.txt", b"2", b"1")
        self.lineage.saved("anna", "plan.txt", b"3", b"1")
        self.assert_explained(True, b"2")
        self.assert_explained(True, b"3")
        self.assert_explained(False, b"1")

    def test_deleted(self) -> None:
        """What is saved where its user deleted a version comes after that."""
        self.lineage.deleted("anna", "plan.txt", b"1")
        self.lineage.saved("anna", "plan.txt", b"2", None)
        self.assert_explained(False, b"1")
        self.lineage.saved("ben", "plan.txt", b"3", None)
        self.assert_explained(True, b"1")

    def test_folder(self) -> None:
        """A folder at the same path is a conflict, and so is a file below it."""
        self.lineage.saved("ben", "plan.txt/x", b"2", None)
        self.assert_explained(True, b"1")

    def test_saved_by_a_person(self) -> None:
        """What a person saved, or renamed, under the name of a copy is no copy."""
        self.lineage.saved("ben", COPY, b"mine", None)
        self.assert_explained(True, b"mine")
        self.assert_explained(False, b"1")
        self.assert_explained(True, b"whatever", "letter")

    def test_unknown(self) -> None:
        """A copy of what nobody saved there is not explained."""
        self.assert_explained(False, b"other")
        self.lineage.saved("ben", "plan.txt", b"2", None)
        self.assert_explained(False, b"other")
