"""What the cluster manager's view of nodes and images says against a rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pipeline.cluster.drivers.nodes import NodeFacts, Survey, begun_at
from pipeline.cluster.nodesets import folded
from pipeline.cluster.rolling import RACK
from pipeline.printable import counted
from pipeline.rollout.model import Finding, Order
from pipeline.rollout.ordering import AWAY, RISING, VIRTUAL, Draft, is_to_be_started

CEPH, OSD_ROLE = "ceph", "cephosd"
"""The hook for hosts of OSDs, and the role by which Bright knows them."""


def node_findings(draft: Draft, survey: Survey) -> list[Finding]:
    """Everything about the nodes of ``draft``; nodes of one kind are told as one node set."""
    order = draft.order
    facts = [survey.nodes[node.name] for node in order.nodes]
    return [
        *_conditions([node for node in facts if not is_to_be_started(node, order.hooks)]),
        *_skipped(draft, survey),
        *_others(draft, survey),
        *_own_images(order),
        *_again(order),
        *_either_way(order, facts, survey),
    ]


def findings_back(order: Order, survey: Survey) -> list[Finding]:
    """The same about nodes that are taken back: they may be down, for that may be why."""
    facts = [survey.nodes[node.name] for node in order.nodes if node.name in survey.nodes]
    down = [node for node in facts if not is_to_be_started(node, order.hooks)]
    return [*_conditions_back(down), *_either_way(order, facts, survey)]


def _either_way(order: Order, facts: Sequence[NodeFacts], survey: Survey) -> list[Finding]:
    found = [
        *_data_nodes(order, facts),
        *_images(order, survey),
        *_virtual(order),
        *_osd_hosts(order, survey),
        *_domains(order),
    ]
    if order.policy.install == "FULL" and facts:
        what = f"FULL wipes the disks of {_nodes(len(facts))}: whatever was changed on them is lost"
        found.append(Finding("warning", what, folded(node.name for node in order.nodes)))
    return found


def _conditions(facts: Sequence[NodeFacts]) -> list[Finding]:
    """Nodes that are not up."""
    found = []
    for condition, names in _by(facts, lambda node: node.status.condition).items():
        if condition in AWAY:
            hint = "bring it up, leave it out by --nodes, or leave out all such nodes by --skip-down"
            found.append(Finding("error", _are(names, _word(condition)), folded(names), hint))
        elif condition in RISING:
            found.append(Finding("error", _are(names, condition), folded(names), "wait until it is up"))
    return found


def _conditions_back(facts: Sequence[NodeFacts]) -> list[Finding]:
    found = []
    for condition, names in _by(facts, lambda node: node.status.condition).items():
        if condition == "closed":
            hint = "open it, or leave it out by --nodes"
            found.append(Finding("error", _are(names, condition), folded(names), hint))
        elif condition in AWAY | RISING:
            what = f"{_are(names, _word(condition))}: it is rebooted by its power"
            found.append(Finding("warning", what, folded(names), "--nodes takes only some"))
    return found


def _word(condition: str) -> str:
    return {"failed": "in the installer, which failed", "unknown": "of unknown state"}.get(
        condition, condition
    )


def _skipped(draft: Draft, survey: Survey) -> list[Finding]:
    """Nodes that are down and left out; where their category is switched, they come back with the version."""
    found = []
    for category, names in _by(_facts(draft.skipped, survey), lambda node: node.category).items():
        image = draft.order.categories.get(category)
        later = "it keeps what it has"
        if image is not None:
            later = f"it gets {image} when it is next booted, and nothing here will have verified it"
        found.append(Finding("warning", f"{_are(names, 'down')}, and left out", folded(names), later))
    return found


def _data_nodes(order: Order, facts: Sequence[NodeFacts]) -> list[Finding]:
    names = [node.name for node in facts if node.is_data_node]
    if not names or order.policy.install != "FULL":
        return []
    return [
        Finding(
            "error",
            "datanode is set: a FULL install waits until somebody confirms it at the console",
            folded(names),
            'clear datanode in the cluster manager, or say install = "AUTO" in [rollout]',
        )
    ]


def _images(order: Order, survey: Survey) -> list[Finding]:
    """Images that are locked, or have the name of one that is to be made and another directory."""
    found = []
    wanted = set(order.wanted.values())
    for name, target in order.targets.items():
        facts = survey.images.get(name)
        if facts is None:
            continue
        if facts.is_locked:
            what = f"the image {name} is locked: installs from it wait until it is unlocked"
            if name not in wanted:
                what += ", and nodes could not be taken back to it"
            severity = Finding(
                "error" if name in wanted else "warning", what, name, f"unlock the image {name}"
            )
            found.append(severity)
        if name in wanted and target.path and facts.path not in (target.path, begun_at(name, target.path)):
            what = f"the cluster manager has an image {name} already, at {facts.path}, not at {target.path}"
            found.append(Finding("error", what, name, "remove it there, or give it another name"))
    return found


def _others(draft: Draft, survey: Survey) -> list[Finding]:
    """Members of the same categories that are not taken: these keep the category from being switched."""
    skipped = set(draft.skipped)
    left = _facts((name for name in draft.others if name not in skipped), survey)
    taken = {node.category for node in draft.order.nodes}
    return [
        Finding(
            "warning",
            f"{_nodes(len(names))} of {category} {'is' if len(names) == 1 else 'are'} left out: the category "
            "is not switched, and the nodes of this rollout have an image of their own until it is",
            folded(names),
            "a rollout without --nodes takes all of them",
        )
        for category, names in _by(left, lambda node: node.category).items()
        if category in taken
    ]


def _own_images(order: Order) -> list[Finding]:
    """Nodes for which somebody has set an image: with the category's switch that is cleared."""
    alike: dict[str, list[str]] = {}
    for node in order.nodes:
        if node.own_image and node.own_image != order.wanted[node.name]:
            alike.setdefault(node.own_image, []).append(node.name)
    return [
        Finding(
            "warning",
            f"the image {image} is set for the {'node itself' if len(names) == 1 else 'nodes themselves'}",
            folded(names),
            "afterwards it has that of its category",
        )
        for image, names in alike.items()
    ]


def _again(order: Order) -> list[Finding]:
    alike: dict[str, list[str]] = {}
    for node in order.nodes:
        if node.image == order.wanted[node.name]:
            alike.setdefault(node.image, []).append(node.name)
    return [
        Finding(
            "warning",
            f"{image} is set for {_nodes(len(names))} already: installed again all the same",
            folded(names),
            "--nodes takes only some",
        )
        for image, names in alike.items()
    ]


def _virtual(order: Order) -> list[Finding]:
    names = [node.name for node in order.nodes if node.is_virtual]
    if not names or VIRTUAL in order.hooks:
        return []
    return [
        Finding(
            "warning",
            "virtual nodes take a changed configuration only with a new instance, which nothing here sees to",
            folded(names),
            'hooks = ["virtual"] in [rollout], with a table [rollout.virtual]',
        )
    ]


def _domains(order: Order) -> list[Finding]:
    """Nodes without a label for which there is a limit, where that would let fewer go than all may."""
    policy = order.policy
    found = []
    for label, most in policy.domains.items():
        names = [node.name for node in order.nodes if label not in node.domains]
        if not names or most >= min(policy.max_unavailable, len(order.nodes)):
            continue
        where = f'[[rollout.label]]: nodes = "{folded(names)}", {label} = "…"'
        found.append(
            Finding(
                "warning",
                f"{_nodes(len(names))} {_has(names)} no {label}, and domains.{label} = {most} does not hold "
                f"for {'it' if len(names) == 1 else 'them'}",
                folded(names),
                f"set it in the cluster manager, or in {where}" if label == RACK else where,
            )
        )
    return found


def _osd_hosts(order: Order, survey: Survey) -> list[Finding]:
    """Hosts of OSDs by what the manager says, of which Ceph was not asked or says nothing."""
    alike: dict[str, list[str]] = {}
    for node in order.nodes:
        facts = survey.nodes.get(node.name)
        roles = [role for role in (facts.roles if facts else ()) if is_osd_role(role)]
        if roles and not node.osds:
            alike.setdefault(roles[0], []).append(node.name)
    return [_osd_host(role, names, CEPH in order.hooks) for role, names in alike.items()]


def _osd_host(role: str, names: Sequence[str], is_asked: bool) -> Finding:
    says = f"{_nodes(len(names))} {_has(names)} the role {role}, which is that of hosts of OSDs, and "
    if is_asked:
        hint = "if there are OSDs on it, ceph osd tree has it by another name"
        return Finding("warning", f"{says}Ceph knows of none there", folded(names), hint, "ceph osd tree")
    return Finding(
        "error",
        f"{says}hooks of [rollout] lacks ceph: nothing would ask Ceph whether they may go",
        folded(names),
        'hooks = ["ceph"] in [rollout]; if there are no OSDs any more, take the role from them',
    )


def is_osd_role(role: str) -> bool:
    """``cephosd``, ``CephOSDRole``, ``ceph-osd``: releases of Bright write it in their own way."""
    return OSD_ROLE in "".join(letter for letter in role.lower() if letter.isalnum())


def _facts(names: Iterable[str], survey: Survey) -> list[NodeFacts]:
    return [survey.nodes[name] for name in names]


def _by(facts: Iterable[NodeFacts], key: Callable[[NodeFacts], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in facts:
        found.setdefault(key(node), []).append(node.name)
    return found


def _are(names: Sequence[str], word: str) -> str:
    return f"it is {word}" if len(names) == 1 else f"{len(names)} nodes are {word}"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _nodes(count: int) -> str:
    return counted(count, "node")
