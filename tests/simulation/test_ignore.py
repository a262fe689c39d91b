"""What is ignored stays where it is, and never counts as deleted: stories of whole peers."""

from __future__ import annotations

import os

from twistedp2p.limits import IGNORE_BYTES, IGNORE_WAIT
from twistedp2p.peer.folder.scan import IGNORED
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.look import LEFT_OVER
from twistedp2p.testing.nodes import SimPeer
from twistedp2p.versions import Live, winner

from .test_scenarios import WorldCase, contents, save


class IgnoringCase(WorldCase):
    """Peers whose folders may differ in what they ignore."""

    def quiet(self) -> None:
        """Wait until all agree, and see that they then say nothing."""
        self.world.settle()
        self.world.assert_silent()

    def has(self, peer: SimPeer, files: dict[str, bytes]) -> None:
        """Assert that a folder has just these files, apart from the list."""
        found = contents(peer)
        found.pop(IGNORE_NAME, None)
        self.assertEqual(files, found, peer.name)

    def known(self, peer: SimPeer, path: str) -> bool:
        """Whether a peer has a record of `path`."""
        return bool(peer.peer.index.record(path).context)

    def alive(self, peer: SimPeer, path: str) -> bool:
        """Whether what a peer knows of `path` is that it is there."""
        return isinstance(winner(peer.peer.index.record(path))[1], Live)


class DefaultTests(IgnoringCase):
    """Without any list."""

    def test_defaults(self) -> None:
        """What editors and desktops leave beside files stays local, and nothing is known of it elsewhere."""
        anna, ben = self.couple()
        save(anna, {"text": b"1", ".text.swp": b"2", "text~": b"3", "d/.DS_Store": b"4", ".Trash-1000/x": b"5"})
        self.quiet()
        self.has(ben, {"text": b"1"})
        self.assertFalse(self.known(anna, "text~") or self.known(ben, "text~"))
        self.assertEqual(IGNORED, anna.peer.observer.hidden["text~"])

    def test_changed(self) -> None:
        """A line of the list takes in again what the defaults leave out."""
        anna, ben = self.couple()
        save(anna, {IGNORE_NAME: b"!*~\n", "text~": b"3"})
        self.quiet()
        self.has(ben, {"text~": b"3"})


class ListTests(IgnoringCase):
    """The list is shared, and in force everywhere."""

    def test_shared(self) -> None:
        """A list saved at one peer is in force at the others: what lies there already stays local."""
        anna, ben = self.world.peers(2)
        anna.write(IGNORE_NAME, b"build/\n*.log\n!keep.log\n")
        self.settle()
        save(anna, {"build/x": b"anna", "a.log": b"1", "keep.log": b"2", "code": b"3"})
        save(ben, {"build/x": b"ben", "build/y": b"ben"})
        self.quiet()
        self.has(anna, {"build/x": b"anna", "a.log": b"1", "keep.log": b"2", "code": b"3"})
        self.has(ben, {"build/x": b"ben", "build/y": b"ben", "keep.log": b"2", "code": b"3"})
        self.assertFalse(self.known(anna, "build") or self.known(anna, "build/x"))

    def test_joiner_waits_for_the_list(self) -> None:
        """Files of one who joins that the share ignores are never announced, however slowly the list arrives."""
        anna = self.world.peers(1)[0]
        save(anna, {IGNORE_NAME: b"build/\n", "code": bytes(3_000_000)})
        self.world.settle()
        ben = self.world.new_peer("ben")
        save(ben, {"build/x": b"ben", "note": b"ben"})
        ben.start()
        self.quiet()
        self.has(anna, {"code": bytes(3_000_000), "note": b"ben"})
        self.has(ben, {"code": bytes(3_000_000), "note": b"ben", "build/x": b"ben"})
        self.assertFalse(self.known(ben, "build/x") or self.known(anna, "build/x"))

    def test_joiner_without_anybody_who_has_the_list(self) -> None:
        """While nobody alive has the list, a joiner fetches the rest, and keeps to itself what it has; a list of
        its own ends that."""
        anna, carl = self.world.peers(2)
        save(anna, {"code": b"1"})
        self.settle()
        self.world.partition([anna], [carl])  # they hear of each other by the tracker only
        anna.write(IGNORE_NAME, b"build/\n")
        self.world.clock.advance(5)
        anna.kill()
        ben = self.world.new_peer("ben")
        save(ben, {"build/x": b"ben", "note": b"ben"})
        ben.start()
        self.world.clock.advance(IGNORE_WAIT + 60)
        self.has(ben, {"build/x": b"ben", "note": b"ben", "code": b"1"})
        self.assertFalse(self.known(ben, "note"))
        self.assertFalse(ben.in_sync)
        ben.write(IGNORE_NAME, b"build/\n# mine\n")
        self.world.clock.advance(60)
        self.has(carl, {"code": b"1", "note": b"ben"})
        self.world.heal()
        anna.start()
        self.world.settle()
        self.assertFalse(self.known(anna, "build/x"))

    def test_member_does_not_wait_long(self) -> None:
        """A member that was up to date once goes on with its own saves, although nobody has the newest list."""
        anna, ben, carl = self.world.peers(3)
        save(anna, {"code": b"1"})
        self.settle()
        ben.kill()
        self.world.partition([anna], [carl])
        anna.write(IGNORE_NAME, b"build/\n")
        self.world.clock.advance(5)
        anna.kill()
        ben.write("note", b"ben")
        ben.start()
        self.world.clock.advance(IGNORE_WAIT + 30)
        self.has(carl, {"code": b"1", "note": b"ben"})

    def test_edited_while_no_peer_ran(self) -> None:
        """A list that was changed while no peer ran is in force before anything is taken at the next start."""
        anna, ben = self.couple({IGNORE_NAME: b"old/\n", "code": b"1"})
        anna.stop()
        save(anna, {"a/secret": b"2", "secret/x": b"3", IGNORE_NAME: b"secret\n"})
        anna.start()
        self.quiet()
        self.has(ben, {"code": b"1"})
        self.assertFalse(self.known(anna, "a/secret") or self.known(anna, "secret/x"))

    def test_replaced_by_an_editor(self) -> None:
        """While an editor replaces the list, and the name is free for an instant, the old list holds."""
        anna, ben = self.couple({IGNORE_NAME: b"build/\n", "code": b"1"})
        save(anna, {"build/x": b"2"})
        self.world.clock.advance(1)
        anna.delete(IGNORE_NAME)
        self.world.clock.advance(0.1)
        anna.write("build/y", b"3")
        self.world.clock.advance(0.08)
        anna.write(IGNORE_NAME, b"build/\n*.log\n")
        self.quiet()
        self.assertFalse(self.known(anna, "build/y") or self.known(ben, "build/x"))

    def test_removed(self) -> None:
        """Without the list only the defaults hold: what it ignored is shared."""
        anna, ben = self.couple({IGNORE_NAME: b"build/\n", "code": b"1"})
        anna.write("build/x", b"2")
        self.quiet()
        anna.delete(IGNORE_NAME)
        self.quiet()
        self.has(ben, {"code": b"1", "build/x": b"2"})

    def test_unreadable(self) -> None:
        """A list that can not be used leaves the last one in force, at a restart too, and status says so."""
        anna, ben = self.couple({IGNORE_NAME: b"build/\n", "code": b"1"})
        anna.write(IGNORE_NAME, b"#" * (IGNORE_BYTES + 1))
        self.quiet()
        anna.restart()
        anna.write("build/x", b"2")
        self.quiet()
        self.has(ben, {"code": b"1"})
        self.assertIn("make it shorter", anna.peer.bench.ignoring.trouble)

    def test_itself(self) -> None:
        """The list can not ignore itself."""
        anna, ben = self.couple()
        anna.write(IGNORE_NAME, b"*\n")
        anna.write("x", b"1")
        self.quiet()
        self.has(ben, {})
        self.assertEqual(b"*\n", (ben.folder / IGNORE_NAME).read_bytes())


class BecomingIgnoredTests(IgnoringCase):
    """What was shared, and is ignored from now on."""

    def ignored_later(self) -> tuple[SimPeer, SimPeer]:
        """Return two peers that shared `build/x` and ignore it now."""
        anna, ben = self.couple({"build/x": b"1", "code": b"1"})
        anna.write(IGNORE_NAME, b"build/\n")
        self.quiet()
        return anna, ben

    def test_nothing_is_deleted(self) -> None:
        """The files stay everywhere, nobody deletes them, and nobody says any more that it has them."""
        anna, ben = self.ignored_later()
        self.has(anna, {"build/x": b"1", "code": b"1"})
        self.has(ben, {"build/x": b"1", "code": b"1"})
        for peer in (anna, ben):
            self.assertTrue(self.alive(peer, "build/x"))
            self.assertIsNone(peer.peer.index.row("build/x"))
            self.assertEqual(0, peer.peer.index.totals().missing_files)

    def test_changes_stay_local(self) -> None:
        """Saves and deletions of what is ignored are nobody else's business."""
        anna, ben = self.ignored_later()
        anna.write("build/x", b"anna")
        ben.delete("build")
        self.quiet()
        self.has(anna, {"build/x": b"anna", "code": b"1"})
        self.has(ben, {"code": b"1"})
        self.assertTrue(self.alive(anna, "build/x"))

    def test_taken_in_again(self) -> None:
        """What is not ignored any more is as with one who joins: fetched, adopted, or kept as a version."""
        anna, ben = self.couple({"build/gone": b"1", "build/equal": b"2", "build/other": b"3"})
        anna.write(IGNORE_NAME, b"build/\n")
        self.quiet()
        ben.delete("build/gone")
        ben.write("build/other", b"ben")
        ben.write("build/new", b"new")
        self.quiet()
        anna.write(IGNORE_NAME, b"")
        self.settle()
        files = contents(anna)
        self.assertEqual((b"1", b"2", b"new"), tuple(files[f"build/{name}"] for name in ("gone", "equal", "new")))
        self.assertEqual({b"3", b"ben"}, {files[path] for path in files if path.startswith("build/other")})
        self.world.assert_silent()

    def test_rename_to_an_ignored_name(self) -> None:
        """A shared file that gets an ignored name is gone for the others, and stays here; the reverse is an add."""
        anna, ben = self.couple({"text": b"1"})
        anna.rename("text", "text~")
        self.quiet()
        self.has(anna, {"text~": b"1"})
        self.has(ben, {})
        anna.rename("text~", "text")
        self.quiet()
        self.has(ben, {"text": b"1"})

    def test_restart_in_between(self) -> None:
        """A peer that was killed as the list arrived judges every path at its next start."""
        anna, ben = self.couple({"build/x": b"1", "code": b"1"})
        ben.stop()
        anna.write(IGNORE_NAME, b"build/\n")
        self.world.settle()
        ben.start()
        self.world.clock.run_until(
            lambda: ben.peer.bench.ignoring.list.text == b"build/\n", 60, "that the list is in force"
        )
        ben.restart()
        self.quiet()
        self.assertIsNone(ben.peer.index.row("build/x"))
        self.has(ben, {"build/x": b"1", "code": b"1"})


class OthersTests(IgnoringCase):
    """Members that do not ignore the same: of different versions, say."""

    def differing(self, files: dict[str, bytes]) -> tuple[SimPeer, SimPeer]:
        """Return two peers in sync, the second of which ignores ``*.x`` by itself."""
        anna, ben = self.couple(files)
        ben.peer.bench.ignoring._use(b"*.x\n")
        ben.peer.steps.ignores._begin()
        ben.peer.sync._kick()
        self.quiet()
        return anna, ben

    def test_not_fetched(self) -> None:
        """What others share and this peer ignores is known here and not held, not fetched, and no reason to wait."""
        anna, ben = self.differing({"code": b"1"})
        anna.write("big.x", bytes(200_000))
        self.quiet()
        self.has(ben, {"code": b"1"})
        self.assertTrue(self.alive(ben, "big.x"))
        item = ben.peer.index.item("big.x")
        self.assertIsNotNone(item)
        self.assertEqual(False, item and item[1])
        self.assertTrue(ben.in_sync)

    def test_deletion_by_others(self) -> None:
        """A file that is ignored here stays when others delete theirs; so does its folder, and a person is told why."""
        anna, ben = self.differing({"d/a.x": b"1", "d/b": b"2", "code": b"1"})
        anna.delete("d")
        self.quiet()
        self.has(anna, {"code": b"1"})
        self.has(ben, {"d/a.x": b"1", "code": b"1"})
        self.assertEqual(LEFT_OVER, ben.peer.observer.hidden["d"])
        self.assertEqual({}, ben.peer.sync.errors)
        self.assertFalse(self.alive(anna, "d"))

    def test_losers_are_not_fetched(self) -> None:
        """Of an ignored path that has several versions, no copy is made here, and nothing is fetched for one."""
        anna, ben = self.differing({"code": b"1"})
        carl = self.world.new_peer("carl")
        self.world.partition([anna], [carl])
        carl.start()
        self.world.clock.advance(5)
        anna.write("big.x", b"anna" * 50_000)
        carl.write("big.x", b"carl" * 50_000)
        self.world.clock.advance(30)
        self.assertEqual(0, len(ben.peer.sync.wants))
        self.world.heal()
        self.quiet()
        self.has(ben, {"code": b"1"})
        self.assertEqual(2, len([path for path in contents(anna) if path.startswith("big")]))
        self.assertEqual([], os.listdir(ben.folder / ".twistedp2p/parts"))


class NoRowTests(IgnoringCase):
    """What is ignored never becomes a version in passing."""

    def test_rename_does_not_adopt(self) -> None:
        """A file moved out of an ignored folder is a new file, and what stays in there is not looked for."""
        anna, ben = self.couple({IGNORE_NAME: b"build/\n", "code": b"1"})
        save(anna, {"build/x": b"2", "build/y": b"3"})
        self.quiet()
        anna.rename("build/x", "x")
        self.quiet()
        self.has(ben, {"code": b"1", "x": b"2"})
        self.has(anna, {"code": b"1", "x": b"2", "build/y": b"3"})

    def test_lost_index(self) -> None:
        """A peer that lost its index shares nothing of what the list says either."""
        anna, ben = self.couple({IGNORE_NAME: b"build/\n", "code": b"1"})
        anna.write("build/x", b"2")
        self.quiet()
        anna.stop()
        anna.lose_index()
        anna.start()
        self.quiet()
        self.has(ben, {"code": b"1"})
        self.assertFalse(self.known(anna, "build/x"))
