"""The folders that are watched, as a tree: a renamed folder takes along all that is below it."""

from __future__ import annotations

from twistedp2p.disk.seam import Name

__all__ = ["Folder", "Tree"]


class Folder:
    """One folder; its name is that of its place in the tree."""

    __slots__ = ("_above", "_component", "children", "watch")

    def __init__(self, above: Folder | None, component: bytes) -> None:
        self._above = above
        self._component = component
        self.watch = -1
        self.children: dict[bytes, Folder] = {}

    @property
    def attached(self) -> bool:
        """Whether this is still in the tree."""
        folder = self
        while folder._above is not None:
            if folder._above.children.get(folder._component) is not folder:
                return False
            folder = folder._above
        return not folder._component

    def name(self) -> Name:
        """Return the name on the disk."""
        components = []
        folder = self
        while folder._above is not None:
            components.append(folder._component)
            folder = folder._above
        return tuple(reversed(components))

    def add(self, component: bytes) -> Folder:
        """Return a new folder in this one."""
        folder = self.children[component] = Folder(self, component)
        return folder

    def take(self, component: bytes) -> Folder | None:
        """Take a folder out of this one; None if it has none of that name."""
        return self.children.pop(component, None)

    def attach(self, above: Folder, component: bytes) -> None:
        """Put this folder, which was taken out, into `above`."""
        self._above, self._component = above, component
        above.children[component] = self


class Tree:
    """All folders that are watched, from `root` down, and by the numbers of their watches."""

    def __init__(self) -> None:
        self.root = Folder(None, b"")
        self.by_watch: dict[int, Folder] = {}

    def watched(self, folder: Folder, watch: int) -> bool:
        """Note the watch of `folder`; False if another folder has that number, so that one of the two is wrong."""
        other = self.by_watch.get(watch)
        folder.watch = watch
        self.by_watch[watch] = folder
        return other is None or other is folder

    def unwatched(self, watch: int) -> None:
        """Note that the kernel ended a watch."""
        folder = self.by_watch.pop(watch, None)
        if folder is not None:
            folder.watch = -1

    def forget(self, folder: Folder) -> list[int]:
        """Forget a folder that was taken out, and all below it; return the numbers of their watches."""
        watches = []
        pending = [folder]
        while pending:
            one = pending.pop()
            pending.extend(one.children.values())
            if self.by_watch.get(one.watch) is one:
                del self.by_watch[one.watch]
                watches.append(one.watch)
        return watches
