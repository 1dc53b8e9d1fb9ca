"""From a cluster file and wishes to an order: which nodes, to which version, within which limits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.cluster import renamed
from pipeline.cluster.added import put_into
from pipeline.cluster.drivers.nodes import NodeFacts, Survey
from pipeline.cluster.madenames import made_name, version_of
from pipeline.cluster.model import Cluster
from pipeline.cluster.nodesets import expanded, folded
from pipeline.cluster.rolling import RACK
from pipeline.errors import PipelineError
from pipeline.nearest import nearest
from pipeline.publish.link import pointed_to
from pipeline.publish.record import directory
from pipeline.recipe.model import Site
from pipeline.rollout.batches import domains
from pipeline.rollout.choosing import Chosen, chosen
from pipeline.rollout.limits import policy
from pipeline.rollout.model import Finding, Node, Order, Target
from pipeline.store.records import Version
from pipeline.store.store import Store

AWAY = frozenset({"down", "failed", "closed", "unknown"})
"""Conditions of nodes that users don't have, and that nobody is bringing up."""

RISING = frozenset({"booting", "installing", "starting"})

VIRTUAL = "virtual"
"""The hook for virtual nodes."""


def is_to_be_started(node: NodeFacts, hooks: Iterable[str]) -> bool:
    """Whether a node is down as a virtual one has to be before its turn: it has no instance."""
    return node.is_virtual and node.status.condition == "down" and VIRTUAL in hooks


class Wishes(msgspec.Struct, frozen=True):
    """What somebody asks for: ``images`` as ``IMAGE@N`` or ``IMAGE`` (none: all that the file's categories
    have), ``nodes`` as a node set ("": all). ``skip_down``: leave out those that are down."""

    nodes: str = ""
    images: tuple[str, ...] = ()
    skip_down: bool = False


class Draft(msgspec.Struct, frozen=True):
    """An order before it has batches, a number and a name, and what is wrong with it already.

    ``versions`` are those that it takes nodes to, by the manager's name of the image. ``others`` are nodes of
    the same categories that it leaves out, ``skipped`` those of them that are down.
    """

    order: Order
    versions: Mapping[str, Version]
    findings: tuple[Finding, ...] = ()
    others: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def draft(
    cluster: Cluster,
    site: Site,
    store: Store,
    survey: Survey,
    wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    osds: Mapping[str, Sequence[int]] = {},
) -> Draft:
    """The order that ``wishes`` come to, with everything about them that is wrong.

    ``cluster`` is as it was loaded, before images that were rolled out stand for those of the file; ``osds``
    are the Ceph OSDs on each host, whose name may have a domain or not. Raises ``PipelineError`` only when
    the store can't be read.
    """
    images = category_images(cluster)
    found = chosen(site, store, images, wishes.images)
    drafting = _Drafting(cluster, survey, found, osds)
    members = drafting.members()
    nodes = drafting.nodes(wishes, members)
    skips = wishes.skip_down or cluster.rollout.skip_down
    hooks = cluster.rollout.hooks
    away = [name for name in nodes if survey.nodes[name].status.condition in AWAY]
    skipped = tuple(name for name in away if skips and not is_to_be_started(survey.nodes[name], hooks))
    left = frozenset(skipped)
    taken = [name for name in nodes if name not in left]
    limits, findings = policy(cluster, len(taken), len(members))
    wanted = {name: found.of[survey.nodes[name].category] for name in taken}
    names = {image: made_name(image, version.number) for image, version in found.versions.items()}
    versions = {names[image]: version for image, version in found.versions.items()}
    targets = {
        name: _target(site, name, version, cluster)
        for name, version in versions.items()
        if name in {names[image] for image in wanted.values()}
    }
    made = tuple(drafting.node(name) for name in taken)
    before, linked = _before(cluster, site, store, survey, made)
    held = frozenset(taken)
    whole = drafting.whole(members, held | left, taken)
    order = Order(
        number=0,
        cluster=cluster.name,
        who="",
        when=0.0,
        nodes=made,
        batches=(),
        targets={**before, **targets},
        wanted={name: names[image] for name, image in wanted.items()},
        policy=limits,
        categories={category: names[found.of[category]] for category in whole},
        hooks=hooks,
        unavailable=drafting.unavailable(held),
        neighbours=drafting.neighbours(held),
        meant=dict(found.of),
        had={name: category.image for name in whole if (category := survey.categories.get(name))},
        linked=linked,
    )
    others = tuple(name for name in members if name not in held)
    said = (*found.findings, *drafting.findings, *findings)
    return Draft(order, {name: versions[name] for name in targets}, said, others, skipped)


def _target(site: Site, name: str, version: Version, cluster: Cluster) -> Target:
    """What the manager's image ``name`` is to be; until it is made it is cloned from that of the file, which
    gives it the parameters that the file has appended, too: an image that is there already may lack them.

    What else applies have put into that is not the version's: it comes from the recipe as it is by now.
    """
    path = str(directory(site, version.image, version.number))
    words = tuple(dict.fromkeys((*version.kernel_parameters, *cluster.appended.get(version.image, ()))))
    put = put_into(renamed.known(site.store, cluster).last.added, version.image)
    without = tuple(word for word in put if word not in words)
    return Target(name, version.image, version.number, path, version.image, words, without)


def category_images(cluster: Cluster) -> dict[str, str]:
    """The image that the file gives to each category."""
    return {
        item.ref.name: str(item.exact["image"])
        for item in cluster.wanted
        if item.ref.kind == "category" and item.exact.get("image")
    }


def as_now(cluster: Cluster, survey: Survey, order: Order, osds: Mapping[str, Sequence[int]] = {}) -> Order:
    """``order`` with the failure domains and OSDs that its nodes have by now, with their limits, and the
    others that are away. What the manager has no more stays as it was; so does ``max_unavailable``, unless
    the file allows more by now."""
    drafting = _Drafting(cluster, survey, Chosen({}, {}), osds)
    nodes = []
    for node in order.nodes:
        if node.name in survey.nodes:
            now = drafting.node(node.name)
            node = msgspec.structs.replace(node, domains=now.domains, osds=now.osds)
        nodes.append(node)
    limits, _ = policy(cluster, len(nodes), 0)
    held = frozenset(node.name for node in nodes)
    limits = msgspec.structs.replace(
        order.policy,
        max_unavailable=max(order.policy.max_unavailable, limits.max_unavailable),
        domains={**order.policy.domains, **limits.domains},
    )
    return msgspec.structs.replace(
        order,
        nodes=tuple(nodes),
        policy=limits,
        unavailable=drafting.unavailable(held),
        neighbours=drafting.neighbours(held),
    )


def _before(
    cluster: Cluster, site: Site, store: Store, survey: Survey, nodes: Iterable[Node]
) -> tuple[dict[str, Target], dict[str, str]]:
    """What nodes have until now, to which they can be taken back; and ``Order.linked``."""
    found: dict[str, Target] = {}
    linked: dict[str, str] = {}
    for name in dict.fromkeys(node.image for node in nodes):
        facts = survey.images.get(name)
        if facts is None:
            continue
        version = version_of(store.path, name)
        found[name] = Target(name, path=facts.path)
        if version is not None:
            more = (version.image, version.number, facts.path, version.image, version.kernel_parameters)
            found[name] = Target(name, *more)
        elif (version := led_to(site, store, facts.path)) is not None:
            linked[name] = made_name(version.image, version.number)
            target = _target(site, linked[name], version, cluster)
            found[linked[name]] = msgspec.structs.replace(target, source=name)
    return found, linked


def led_to(site: Site, store: Store, path: str) -> Version | None:
    """The version to which ``path`` leads for now, when it is the link of an image."""
    place = Path(path)
    if not path or os.path.realpath(place.parent) != os.path.realpath(site.images):
        return None
    try:
        number = pointed_to(site, place.name)
        return store.versions.get(place.name, number) if number else None
    except PipelineError:
        return None  # it is no link, or fsck tells


class _Drafting:
    """Nodes being chosen; ``findings`` are what is wrong with them."""

    def __init__(
        self, cluster: Cluster, survey: Survey, found: Chosen, osds: Mapping[str, Sequence[int]]
    ) -> None:
        self.cluster = cluster
        self.survey = survey
        self.found = found
        self.osds = {_short(host): tuple(numbers) for host, numbers in osds.items()}
        self.findings: list[Finding] = []

    def members(self) -> tuple[str, ...]:
        """All nodes of the categories that the rollout is about, in the manager's names' order."""
        names = [name for name, facts in self.survey.nodes.items() if facts.category in self.found.of]
        return tuple(sorted(names))

    def nodes(self, wishes: Wishes, members: tuple[str, ...]) -> tuple[str, ...]:
        """Those that are asked for; unknown ones and those of other categories are told."""
        if not wishes.nodes:
            if self.found.of and not members:
                named = ", ".join(self.found.of)
                self._say(
                    f"no nodes are in {named}", "", "the cluster manager has none; is the file applied?"
                )
            return members
        asked = expanded(wishes.nodes, self.cluster.groups)
        if asked.fault:
            self._say(asked.fault, "--nodes")
            return ()
        unknown = [name for name in asked.names if name not in self.survey.nodes]
        if unknown:
            near = nearest(unknown[0], self.survey.nodes) if len(unknown) == 1 else ""
            self._say(f"the cluster manager has no {folded(unknown)}{near}", "--nodes")
        known = frozenset(members)
        there = self.survey.nodes.keys()
        self._refuse_others([name for name in asked.names if name in there and name not in known])
        return tuple(name for name in asked.names if name in known)

    def _refuse_others(self, names: Sequence[str]) -> None:
        if not self.found.of:
            return  # that no image was found is told
        alike: dict[tuple[str, str], list[str]] = {}
        for name in names:
            facts = self.survey.nodes[name]
            alike.setdefault((facts.category, facts.image), []).append(name)
        wanted = ", ".join(f"{category} ({image})" for category, image in self.found.of.items())
        for (category, image), group in alike.items():
            what = (
                f"{folded(group)} is in the category {category or 'nothing'}, which has {image or 'no image'}"
            )
            self._say(what, "--nodes", f"this rollout is about {wanted}")

    def node(self, name: str) -> Node:
        facts = self.survey.nodes[name]
        return Node(
            name=name,
            category=facts.category,
            image=facts.image,
            own_image=facts.own_image,
            domains=self._domains(facts),
            osds=self.osds.get(_short(name), ()),
            is_virtual=facts.is_virtual,
        )

    def _domains(self, facts: NodeFacts) -> Mapping[str, str]:
        """Its labels for which there are limits."""
        given = {RACK: facts.rack, **self.cluster.rollout.labels.get(facts.name, {})}
        return {key: given[key] for key in self.cluster.rollout.domains if given.get(key)}

    def whole(self, members: Iterable[str], held: frozenset[str], taken: Iterable[str]) -> list[str]:
        """Categories of which no node is left out, but for those that are down, and some are taken."""
        of = {name: self.survey.nodes[name].category for name in members}
        partial = {category for name, category in of.items() if name not in held}
        some = {of[name] for name in taken}
        return [category for category in self.found.of if category in some - partial]

    def unavailable(self, taken: frozenset[str]) -> tuple[Node, ...]:
        """Nodes that are away already, and share a failure domain or the category with those that are taken.

        Users lack those that a rollout leaves out, too. A virtual node that is down is one that nobody began.
        """
        near = {node.name: node for node in self.neighbours(taken)}
        survey = self.survey.nodes
        categories = {survey[name].category for name in taken if name in survey}
        return tuple(
            near.get(name) or self.node(name)
            for name, facts in sorted(survey.items())
            if name not in taken and facts.status.condition in AWAY | RISING
            if name in near or (facts.category in categories and not self._is_not_begun(name))
        )

    def neighbours(self, taken: frozenset[str]) -> tuple[Node, ...]:
        """Nodes that share a failure domain with those that are taken, whether they are up or not."""
        nodes = [self.node(name) for name in sorted(taken) if name in self.survey.nodes]
        shared = {item for node in nodes for item in domains(node).items()}
        if not shared:
            return ()
        others = (self.node(name) for name in sorted(self.survey.nodes) if name not in taken)
        return tuple(node for node in others if not shared.isdisjoint(domains(node).items()))

    def _is_not_begun(self, name: str) -> bool:
        facts = self.survey.nodes[name]
        return facts.is_virtual and facts.status.condition == "down"

    def _say(self, what: str, where: str, hint: str = "") -> None:
        self.findings.append(Finding("error", what, where, hint))


def _short(host: str) -> str:
    return host.partition(".")[0]
