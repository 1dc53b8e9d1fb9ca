"""What is wrong with a rollout, or worth knowing, before anything is touched: all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from pipeline.cluster.drivers.nodes import Survey
from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.fanout import Way
from pipeline.cluster.head import Head
from pipeline.cluster.model import Cluster
from pipeline.cluster.plan import Plan, named
from pipeline.errors import PipelineError
from pipeline.publish.record import publication
from pipeline.publish.verified import faults
from pipeline.recipe.model import Site
from pipeline.rollout import trees
from pipeline.rollout.checks_nodes import node_findings
from pipeline.rollout.checks_signed import unsigned
from pipeline.rollout.disks import disk_findings, osd_disks
from pipeline.rollout.model import Finding, Node, Order
from pipeline.rollout.ordering import Draft
from pipeline.rollout.parts import Hook, Verifier
from pipeline.store.store import Store

FEW = 5


class Asked(msgspec.Struct, frozen=True):
    """A rollout that somebody asks for, and whoever can tell what is wrong with it.

    ``plan`` says what an apply would change now; each of ``refuse`` raises ``PipelineError`` for what stands
    in the way, such as a rollout that is not at its end. ``provisioners`` are nodes that serve images, and
    how they are reached. ``unverified``: versions that have not passed their tests are taken all the same.
    """

    draft: Draft
    cluster: Cluster
    site: Site
    store: Store
    survey: Survey
    head: Head
    plan: Callable[[], Plan]
    refuse: Sequence[Callable[[], object]] = ()
    hooks: Sequence[Hook] = ()
    verifier: Verifier | None = None
    provisioners: Sequence[Reached] = ()
    way: Way = Way()
    unverified: bool = False


Checks: TypeAlias = Iterable[Callable[[], Iterable[Finding]]]


def find(asked: Asked) -> tuple[Finding, ...]:
    """Everything, errors first; each once. Nothing is touched, and no error of a check hides another."""
    order = asked.draft.order
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: asked.draft.findings,
        lambda: refused(asked.refuse),
        lambda: _unapplied(asked),
        lambda: _unverified(asked),
        lambda: unsigned(asked.site, asked.store, asked.draft.versions.values()),
        lambda: _trees(asked),
        lambda: node_findings(asked.draft, asked.survey),
        lambda: disks(order, asked.survey, asked.head, asked.cluster),
        lambda: _no_way_back(asked),
        *(of_hook(hook, order.nodes) for hook in asked.hooks),
    ]
    verifier = asked.verifier
    if verifier is not None and order.nodes:
        checks.append(lambda: verifier.find(order.nodes))
    return gathered(checks)


def gathered(checks: Checks) -> tuple[Finding, ...]:
    """What all of them find, errors first; each once. A check that raises has found its problems."""
    found: list[Finding] = []
    for check in checks:
        try:
            found += check()
        except PipelineError as error:
            found += as_findings(error)
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: finding.severity))


def as_findings(error: PipelineError) -> list[Finding]:
    """The problems of an error."""
    return [
        Finding("error", each.message, each.where or "", each.hint or "", each.command or "")
        for each in error.problems
    ]


def refused(refuse: Iterable[Callable[[], object]]) -> list[Finding]:
    found = []
    for each in refuse:
        try:
            each()
        except PipelineError as error:
            found += as_findings(error)
    return found


def of_hook(hook: Hook, nodes: Iterable[Node]) -> Callable[[], Iterable[Finding]]:
    """What ``hook`` finds about those of ``nodes`` with which it has to do."""
    mine = [node for node in nodes if hook.applies(node)]
    return lambda: hook.find(mine) if mine else ()


def _unapplied(asked: Asked) -> list[Finding]:
    """A cluster that is not as its file says: what was verified is not what nodes would get."""
    changes = asked.plan().changes
    if not changes:
        return []
    told = [named((change.ref,)) for change in changes[:FEW]]
    more = f" and {len(changes) - FEW} more" if len(changes) > FEW else ""
    many = "1 change" if len(changes) == 1 else f"{len(changes)} changes"
    return [
        Finding(
            "error",
            f"the cluster is not as its file says, {many}: {', '.join(told)}{more}",
            str(asked.cluster.file),
            "apply the file first",
            f"pipeline cluster apply {asked.cluster.name}",
        )
    ]


def _unverified(asked: Asked) -> list[Finding]:
    severity: Literal["error", "warning"] = "warning" if asked.unverified else "error"
    hint = "" if asked.unverified else "--unverified takes it all the same"
    return [
        Finding(severity, f"it is not verified: {why}", version.label, hint, f"pipeline verify {at.label}")
        for version in asked.draft.versions.values()
        for at, why in faults(asked.store, version)
    ]


def _trees(asked: Asked) -> list[Finding]:
    """Directories of versions: on the head node whole, on provisioning nodes told."""
    found: list[Finding] = []
    there = []
    for name, version in asked.draft.versions.items():
        target = asked.draft.order.targets[name]
        missing = trees.published(asked.store, target)
        found += missing
        if not missing:
            there.append(trees.tree(asked.store, target, version))
    found += trees.on_head(asked.site, asked.store, asked.head, there, asked.cluster.rollout.ignore)
    lacking = trees.on_provisioners(there, asked.provisioners, asked.way)
    return [*found, *trees.provisioner_findings(lacking)]


def disks(order: Order, survey: Survey, head: Head, cluster: Cluster) -> list[Finding]:
    """Disks of OSDs that an install would write on."""
    if not any(node.osds for node in order.nodes):
        return []
    known = osd_disks(head, order.nodes, cluster.rollout.tables.ceph.program)
    return disk_findings(order.nodes, survey, known)


def _no_way_back(asked: Asked) -> list[Finding]:
    """Images that nodes have now, and to which they couldn't be taken back."""
    order = asked.draft.order
    had = dict.fromkeys(order.back_to(node.image) for node in order.nodes)
    before = [target for name in had if (target := order.targets.get(name)) and target.path]
    lost = {target.name for target in trees.lost(asked.head, before)}
    gone = [name for name in had if name not in order.targets or name in lost]
    return _turned_links(asked) + [
        Finding(
            "warning",
            f"nodes could not be taken back to {name or 'what they have'}: "
            + ("its directory is gone" if name in lost else "the cluster manager has no such image any more"),
            name,
        )
        for name in gone
    ]


def _turned_links(asked: Asked) -> list[Finding]:
    """Images whose link leads to the version that nodes are taken to: with it they would go back to that."""
    order = asked.draft.order
    found = []
    for name in dict.fromkeys(node.image for node in order.nodes if _leads_to(order, node)):
        target = order.targets[order.linked[name]]
        link, hint = (
            order.targets[name].path,
            "say version = N of another one in the cluster file, and apply it",
        )
        command = ""
        if publication(asked.store, target.image).previous is not None:
            hint = f"turn it back, and start with --image {target}; or {hint}"
            command = f"pipeline rollback {target.image}"
        what = f"nodes could not be taken back: {link} points to {target.name} by now, where they are to go"
        found.append(Finding("error", what, name, hint, command))
    return found


def _leads_to(order: Order, node: Node) -> bool:
    return order.linked.get(node.image) == order.wanted[node.name]
