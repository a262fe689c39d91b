"""Everybody comes back, and all work is done until there is none left."""

from __future__ import annotations

from .peer import Peer, with_ancestors
from .world import Failure, World

__all__ = ["heal", "settle_down"]

_ROUNDS = 80


def heal(world: World) -> None:
    """Bring back all peers that are not gone for ever, and work until there is silence."""
    world.log("heal")
    living = [peer for peer in world.peers if not peer.gone]
    for peer in world.peers:
        if peer.gone:
            world.expire(peer.node)
    for peer in living:
        peer.ignore(set())
        if not peer.running:
            peer.start()
    for _ in range(_ROUNDS):
        if _round(world, living):
            continue
        for peer in living:
            peer.to_plan |= with_ancestors(peer.store.records.keys() | peer.store.rows.keys())
        if not (_round(world, living) or _abandon(world, living)):
            return
    raise Failure("unsettled", f"there is work left after {_ROUNDS} rounds")


def settle_down(world: World) -> None:
    """Work until nothing is left for those who run."""
    for _ in range(_ROUNDS):
        if not _round(world, [peer for peer in world.peers if peer.running]):
            return
    raise Failure("unsettled", f"there is work left after {_ROUNDS} rounds")


def _round(world: World, peers: list[Peer]) -> bool:
    """Let every peer do all its work, one after the other or in step; return whether there was any."""
    progress = False
    if world.in_step:
        for stage in _STAGES:
            for peer in peers:
                progress |= stage(world, peer)
    else:
        for peer in peers:
            for stage in _STAGES:
                progress |= stage(world, peer)
    return progress


def _receive(world: World, peer: Peer) -> bool:
    progress = peer.connect()
    while peer.receive(1000):
        progress = True
    return progress


def _look(world: World, peer: Peer) -> bool:
    peer.to_look.clear()
    return peer.scan(peer.everywhere())


def _judge(world: World, peer: Peer) -> bool:
    return peer.judge()


def _plan(world: World, peer: Peer) -> bool:
    return bool(peer.to_plan) and peer.plan(list(peer.to_plan))


def _fetch(world: World, peer: Peer) -> bool:
    progress = False
    for path in sorted(peer.wants):
        for index, want in enumerate(peer.wants[path]):
            if want.content not in peer.parts:
                progress |= world.fetch(peer, path, index)
    return progress


def _announce(world: World, peer: Peer) -> bool:
    progress = peer.announce()
    while world.apply(peer):
        progress = True
    while peer.hear():
        progress = True
    return progress


_STAGES = (_receive, _look, _judge, _plan, _fetch, _plan, _announce)


def _abandon(world: World, living: list[Peer]) -> bool:
    """Give up versions that nobody alive has, as a person would; that must never be needed without an accident."""
    for peer in living:
        for path, wants in sorted(peer.wants.items()):
            for want in wants:
                if not (world.accidents or len(living) < len(world.peers) or world.may_be_nowhere(path, want.content)):
                    raise Failure("want", f"{peer.name} wants {path!r} for ever")
                if any(other.has(want.content) for other in living):
                    raise Failure("want", f"{peer.name} wants {path!r} for ever, though another has it")
                world.log(f"{peer.name} abandons {want.dot} of {path}")
                world.dropped.add((path, want.dot))
                world.abandoned.add(path)
                view = world.rules.view(peer.store)
                view.set_record(path, view.record(path).without({want.dot}))
                peer.announcer.changed(view.commit())
                peer.to_plan |= with_ancestors([path])
                del peer.wants[path]
                return True
    return False
