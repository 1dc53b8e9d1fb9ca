"""Which of a node's profiles is its category, and whether the node boots that one's image.

Profiles are no categories: a node has several, and the file knows only some of them. Those that it names are
categories, the last of them in a node's list is the node's; the others (a rack's, a GPU's) stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from pipeline.cluster.drivers.warewulf.wwctl import Profile
from pipeline.cluster.objects import Wanted

DEFAULT = "default"
"""The profile below all others, and the network device that a node boots from."""

BUT = ", but with the image "
"""Behind the category, where the node boots another image than the category's; no name holds a comma."""

NONE = "no category"
OWN = " of its own"
BEHIND = " of the profile "


def named(wanted: Iterable[Wanted]) -> frozenset[str]:
    """The profiles that the cluster file calls categories: its own, what they are cloned from, nodes'."""
    categories = [item.ref.name for item in wanted if item.ref.kind == "category"]
    of_nodes = [item.exact["category"] for item in wanted if _is_member(item)]
    return frozenset([*categories, *map(str, of_nodes)])


def _is_member(item: Wanted) -> bool:
    return item.ref.kind == "node" and bool(item.exact.get("category"))


def category(profiles: Sequence[str], named: Collection[str]) -> str:
    """The last of these profiles that is a category; empty: none is. ``~x`` takes x out of the list."""
    return next((name for name in reversed(profiles) if name in named and f"~{name}" not in profiles), "")


def moved(profiles: Sequence[str], was: str, wanted: str, *, last: bool) -> tuple[str, ...]:
    """These profiles with ``wanted`` as the category, where the one before it was; all others stay.

    It comes behind all others where there was none, where that was the one below all others, or for ``last``.
    """
    if was == wanted and not last:
        return tuple(profiles)
    kept = [name for name in profiles if name not in (wanted, f"~{wanted}")]
    if was in kept and was != DEFAULT:
        kept[kept.index(was)] = wanted
        if not last:
            return tuple(kept)
    return (*(name for name in kept if name != wanted), wanted)


class Images:
    """The images that nodes get from their profiles, and those that categories are to have."""

    def __init__(
        self, profiles: Mapping[str, Profile], targets: Mapping[str, str], wanted: Iterable[Wanted] = ()
    ) -> None:
        self._profiles = profiles
        # What another is cloned from is asked for once more, without an image.
        categories = (item for item in wanted if item.ref.kind == "category")
        ordered = sorted(categories, key=lambda item: "image" in item.exact)
        self._goals = {item.ref.name: self._goal(item, targets) for item in ordered}

    def _goal(self, item: Wanted, targets: Mapping[str, str]) -> str:
        image = str(item.exact.get("image", ""))
        source = item.ref.name if item.ref.name in self._profiles else item.source
        return targets.get(image, image) or self._image(source)

    def _image(self, name: str, inside: tuple[str, ...] = ()) -> str:
        """The image that a profile gives, its own or that of the profiles in it."""
        profile = self._profiles.get(name)
        if profile is None or name in inside:
            return ""
        return profile.image or self._given(profile.profiles, (*inside, name))[1]

    def _given(self, profiles: Sequence[str], inside: tuple[str, ...] = ()) -> tuple[str, str]:
        """The last of these profiles that gives an image, and which; empty: none does."""
        for name in reversed(profiles):
            if f"~{name}" not in profiles and (image := self._image(name, inside)):
                return name, image
        return "", ""

    def own(self, node: Profile) -> str:
        """The image that the node has of its own; empty: what it boots is what its profiles give it.

        wwctl tells nodes merged with their profiles: an own one that is the same can't be told from it.
        """
        return node.image if node.image != self._given(node.profiles)[1] else ""

    def told(self, node: Profile, now: str, wanted: str) -> str:
        """The category ``now`` of a node that is to be in ``wanted``, with what keeps its image off."""
        goal = self._goals.get(wanted) or self._image(wanted)
        if not goal:
            return now
        if own := self.own(node):
            return f"{now or NONE}{BUT}{own}{OWN}"
        giver, image = self._given(node.profiles)
        if now in node.profiles and giver in node.profiles[node.profiles.index(now) + 1 :] and image != goal:
            return f"{now}{BUT}{image}{BEHIND}{giver}"
        return now
