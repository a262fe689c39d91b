"""What must be true when all is quiet."""

from __future__ import annotations

from twistedp2p.versions import EMPTY, Live, winner

from .peer import Peer
from .world import Failure, World

__all__ = ["check_end"]


def check_end(world: World) -> None:
    """Check the promises on a world that has come to rest; raises `Failure`."""
    living = [peer for peer in world.peers if not peer.gone]
    _check_nothing_lost(world, living)
    _check_equal(living)
    for peer in living:
        _check_silent(world, peer)
        _check_holds(peer)


def _check_nothing_lost(world: World, living: list[Peer]) -> None:
    on_disk = set().union(*(peer.disk.contents() for peer in living))
    gone = [peer for peer in world.peers if peer.gone]
    for content, where in world.saved.items():
        if content in world.superseded or content in on_disk:
            continue
        if any((peer.name, content) in world.moved for peer in gone):
            continue  # it may have said that the old name is gone, and not lived to say the new one
        if any(_hidden(peer, content) for peer in living):
            if content not in world.in_trash_at_accident:
                raise Failure("trash only", f"what was saved as {where} is in the trash only ({content.hex()[:4]})")
        elif not any(content in peer.disk.contents() or _hidden(peer, content) for peer in gone):
            raise Failure("lost", f"what was saved as {where} is nowhere ({content.hex()[:4]})")


def _hidden(peer: Peer, content: bytes) -> bool:
    return content in peer.parts or any(content == kept for kept, _ in peer.trash.values())


def _check_equal(living: list[Peer]) -> None:
    first = living[0]
    tree = {path: None if file is None else file.content for path, file in first.disk.entries.items()}
    records = {path: register for path, register in first.store.records.items() if register != EMPTY}
    for peer in living[1:]:
        other = {path: None if file is None else file.content for path, file in peer.disk.entries.items()}
        if other != tree:
            different = sorted(path for path in tree.keys() | other.keys() if tree.get(path, 0) != other.get(path, 0))
            raise Failure("diverged", f"{first.name} and {peer.name} have different trees: {different}")
        known = {path: register for path, register in peer.store.records.items() if register != EMPTY}
        if known != records:
            different = sorted(path for path in known.keys() | records.keys() if known.get(path) != records.get(path))
            raise Failure("diverged", f"{first.name} and {peer.name} know different things of {different}")


def _check_silent(world: World, peer: Peer) -> None:
    if not peer.announcer.idle or peer.wants or peer.store.intents():
        raise Failure("noise", f"{peer.name} has something left to do or to say")
    member = None if peer.link is None else world.share.member(peer.link.session)
    said = (peer.announcer.known.value(), peer.announcer.held.value())
    if member is None or (member.known.value(), member.held.value()) != said:
        raise Failure("noise", f"the tracker has something else of {peer.name} than it said")
    if peer.store.digest().value() != said[0]:
        raise Failure("noise", f"{peer.name} knows something else than it said")


def _check_holds(peer: Peer) -> None:
    for path, register in peer.store.records.items():
        value = winner(register)[1]
        if len(register.siblings) > 1:
            raise Failure("noise", f"{peer.name} has several versions of {path!r} still")
        left = peer.world.abandoned | peer.world.removed
        if not register.siblings and path not in left and not _may_be_folder(peer, path):
            _check_given_up(peer, path)
        item = peer.world.rules.item(peer.store, path)
        if isinstance(value, Live) and not value.is_folder and item is not None and item[1]:
            file = peer.disk.file(path)
            if file is None or file.content != value.content:
                raise Failure("false hold", f"{peer.name} is quiet and can not serve {path!r}")


def _check_given_up(peer: Peer, path: str) -> None:
    """Invariant 3: a name is without any version only where versions of equal content took each other's place."""
    contents = peer.world.minted.get(path, [])
    if len(set(contents)) == len(contents) and any(content not in peer.world.superseded for content in contents):
        raise Failure("I3", f"{peer.name} knows no version of {path!r}, and nobody deleted it")


def _may_be_folder(peer: Peer, path: str) -> bool:
    """Whether something is or was below `path`: then a file of that name gave way to a folder."""
    return any(other.startswith(path + "/") for other in peer.store.records)
