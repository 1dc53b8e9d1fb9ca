"""Which nodes may be away at once, and in which order their turns come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipeline.cluster.nodesets import folded
from pipeline.errors import Problem, UsageError
from pipeline.rollout.model import OSD_HOSTS, Node, Policy


def domains(node: Node) -> Mapping[str, str]:
    """A node's failure domains, with the one of all hosts of OSDs."""
    return {**node.domains, OSD_HOSTS: "all"} if node.osds else node.domains


class Room:
    """How many more nodes may be away, all in all and of each failure domain."""

    def __init__(self, policy: Policy, away: Iterable[Node] = (), beside: Iterable[Node] = ()) -> None:
        """``beside`` are away in another cluster: of failure domains they count all the same."""
        self._most = policy.max_unavailable
        self._limits = {OSD_HOSTS: 1, **policy.domains}
        self._away: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        for node in away:
            self.take(node)
        for node in {node.name: node for node in beside}.values():
            if node.name not in self._away:
                self._counts.update(domains(node).items())

    def take(self, node: Node) -> None:
        """``node`` is away."""
        if node.name not in self._away:
            self._away.add(node.name)
            self._counts.update(domains(node).items())

    def give(self, node: Node) -> None:
        """``node`` is back."""
        if node.name in self._away:
            self._away.remove(node.name)
            self._counts.subtract(domains(node).items())

    def has(self, node: Node) -> bool:
        """Whether ``node`` may go, or is away already."""
        return node.name in self._away or not self.lacks(node)

    def lacks(self, node: Node) -> str:
        """Why ``node`` may not go; "" when it may."""
        if len(self._away) >= self._most:
            return f"max_unavailable = {self._most} is used up"
        for label, value in domains(node).items():
            limit = self._limits.get(label)
            if limit is not None and self._counts[label, value] >= limit:
                where = "hosts of OSDs" if label == OSD_HOSTS else f"{label} {value}"
                return f"{where}: {limit} may be away at once, and {self._counts[label, value]} are"
        return ""


def arrange(
    nodes: Sequence[Node], policy: Policy, unavailable: Iterable[Node] = ()
) -> tuple[tuple[str, ...], ...]:
    """Batches of names, such that all nodes of one may be away at once; the canaries come first.

    Raises ``UsageError``
    with every node whose turn could never come, because ``unavailable`` nodes use up its limits.
    """
    gone = tuple(unavailable)
    _refuse_stuck(nodes, Room(policy, gone), gone)
    chosen = canaries(nodes, policy.canary)
    first = [node for node in nodes if node.name in chosen]
    rest = [node for node in nodes if node.name not in chosen]
    return (*_batches(first, policy, gone), *_batches(rest, policy, gone))


def canaries(nodes: Iterable[Node], most: int) -> frozenset[str]:
    """The first nodes of each category, ``most`` of them; those without OSDs before others."""
    counts: Counter[str] = Counter()
    found = set()
    for node in sorted(nodes, key=lambda node: bool(node.osds)):
        counts[node.category] += 1
        if counts[node.category] <= most:
            found.add(node.name)
    return frozenset(found)


def _refuse_stuck(nodes: Sequence[Node], room: Room, gone: Sequence[Node]) -> None:
    what = "its turn could never come"
    hint = (
        f"bring up {folded(node.name for node in gone)}, or let [rollout] of the cluster file allow more, "
        "as a number: percent are of this rollout's nodes"
    )
    problems = [
        Problem(f"{what}: {why}, because of nodes that are down already", node.name, hint)
        for node in nodes
        if (why := room.lacks(node))
    ]
    if problems:
        raise UsageError(problems)


def _batches(nodes: Sequence[Node], policy: Policy, gone: Sequence[Node]) -> list[tuple[str, ...]]:
    """Nodes of the same domains are alike: whether one fits is asked once for all of them."""
    alike: dict[tuple[tuple[str, str], ...], list[Node]] = {}
    for node in nodes:
        alike.setdefault(tuple(sorted(domains(node).items())), []).append(node)
    for group in alike.values():
        group.reverse()  # taken from the end
    position = {node.name: number for number, node in enumerate(nodes)}
    found = []
    while alike:
        batch = _batch(alike, Room(policy, gone))
        found.append(tuple(sorted(batch, key=position.__getitem__)))
    return found


def _batch(alike: dict[tuple[tuple[str, str], ...], list[Node]], room: Room) -> list[str]:
    """Take as many as there is room for out of ``alike``."""
    batch: list[str] = []
    # The most first, so that all end at about the same time; of equally many those without OSDs.
    first = sorted(alike, key=lambda key: (-len(alike[key]), (OSD_HOSTS, "all") in key))
    for key in first:
        left = alike[key]
        while left and not room.lacks(left[-1]):
            node = left.pop()
            room.take(node)
            batch.append(node.name)
        if not left:
            del alike[key]
    return batch
