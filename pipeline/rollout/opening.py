"""From a site to all that a rollout works with; from there to an order, checked, and to its run."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from pipeline.cluster import rolled
from pipeline.cluster.apply import look
from pipeline.cluster.drivers.nodes import NodeManager, Survey
from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.head import Head
from pipeline.cluster.heads import refuse_rollout
from pipeline.cluster.livenodes import head_target, reached, way
from pipeline.cluster.load import load_cluster, usual_file
from pipeline.cluster.model import Cluster
from pipeline.cluster.nodesets import expanded
from pipeline.cluster.opening import driver, head, head_site, keepers, node_manager, without_cloud
from pipeline.errors import PipelineError, UsageError
from pipeline.recipe.model import Site
from pipeline.rollout import already, beside, returning, trees
from pipeline.rollout import folder as folders
from pipeline.rollout.batches import arrange
from pipeline.rollout.burning import Burning, asked_over_ssh
from pipeline.rollout.bycategory import ByCategory
from pipeline.rollout.checks import Asked, as_findings, find
from pipeline.rollout.checks_back import Back, find_back
from pipeline.rollout.hooks.cephstate import osds_of, osds_on, strange_hosts
from pipeline.rollout.hooks.opening import OURS, open_hooks
from pipeline.rollout.model import Finding, Order, Target
from pipeline.rollout.ordering import Draft, Wishes, as_now, draft
from pipeline.rollout.parts import Hook, Verifier
from pipeline.store.store import Store


class Opened(msgspec.Struct, frozen=True):
    """What rollouts of one cluster work with. ``cluster`` is as its file has it."""

    site: Site
    cluster: Cluster
    store: Store
    head: Head
    manager: NodeManager

    @property
    def place(self) -> Path:
        """The folder of its rollouts."""
        return folders.rollouts(self.site.store, self.cluster.name)

    def hooks(self, number: int, names: Sequence[str] | None = None) -> tuple[Hook, ...]:
        """Hooks for rollout ``number``: those of ``names``, with which it was begun, or those of the file.

        Before them the one that every rollout has: no node is rebooted while firmware is burnt there.

        Raises ``UsageError`` with each of ``names`` that the file has no more.
        """
        its = self.cluster.rollout
        burning = Burning(self.site.store, partial(asked_over_ssh, self.site), self.manager)
        opened = open_hooks(
            its.hooks if names is None else names,
            its.tables,
            self.head,
            self.manager,
            folder=self.place,
            number=number,
            driver=driver(self.site),
            is_begun=names is not None,
        )
        return (burning, *opened)

    def verifier(self, names: Sequence[str]) -> Verifier:
        """Who verifies nodes of these names."""
        of = reached(names, head_site(self.site))
        return ByCategory(
            self.store,
            self.cluster.rollout,
            way=way(self.site, of.values()),
            reached=of,
            head=head_host(self.site),
            parameters={name: self.cluster.parameters_for(name) for name in names},
            listed=partial(trees.listed, self.head),
            ignore=written_files(self.cluster),
        )


def open_rollouts(name: str, site: Site) -> Opened:
    """Read the cluster file, and open what it needs; nothing is asked yet.

    Raises ``UsageError`` where the store has what was done with another head node.
    """
    cluster = load_cluster(name, site)
    refuse_rollout(site.store, cluster)
    return _opened(cluster, site)


def open_kept(kept: folders.Kept, site: Site) -> Opened:
    """The same to go on with ``kept``. Raises ``UsageError`` with a way on when the file is gone."""
    refuse_gone(kept, site)
    return open_rollouts(kept.order.cluster, site)


def open_to_end(kept: folders.Kept, site: Site) -> Opened:
    """The same to give ``kept`` up: without hooks nothing of the file is needed for that."""
    name = kept.order.cluster
    file = usual_file(name, site)
    if kept.order.hooks or file.exists():
        return open_kept(kept, site)
    return _opened(Cluster(name, "", file, {}, ()), site)


def refuse_gone(kept: folders.Kept, site: Site) -> None:
    """Raise ``UsageError`` when the file of its cluster was removed or renamed."""
    order, file = kept.order, usual_file(kept.order.cluster, site)
    if file.exists():
        return
    hint = f"put it back to go on with rollout {order.number}, or to take it back; abort ends it without"
    command: str | None = folders.abort_command(kept.folder)
    if order.hooks:
        hooks = ", ".join(order.hooks)
        hint = f"put it back; for abort one with [cluster] and what [rollout] says of {hooks} will do"
        command = None
    message = f"the file of the cluster {order.cluster} is gone: it was removed, or has another name"
    raise UsageError(message, where=str(file), hint=hint, command=command)


def _opened(cluster: Cluster, site: Site) -> Opened:
    manager = node_manager(site)
    at = head(site)
    if at.programs and not at.address:  # hooks and tests call them by their names
        os.environ["PATH"] = ":".join((*at.programs, os.environ.get("PATH", "")))
    return Opened(site, cluster, Store(site.store), at, manager)


def written_files(cluster: Cluster) -> tuple[str, ...]:
    """Files of nodes in which the cluster manager sets keys: they differ from the image by right."""
    names = (item.ref.name for item in cluster.wanted if item.ref.kind == "setting")
    return tuple(dict.fromkeys(name.partition("[")[0] for name in names))


def head_host(site: Site) -> Reached:
    """The head node, as tests reach it. The lab's is a directory of this machine."""
    return head_target(head_site(site))


def person() -> str:
    """Who gives orders: user and machine."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Planned(msgspec.Struct, frozen=True):
    """An order with its batches, what is known against it, and the steps of each node."""

    order: Order
    findings: tuple[Finding, ...]
    steps: Mapping[str, tuple[str, ...]]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")


def plan(opened: Opened, wishes: Wishes, *, unverified: bool = False) -> Planned:
    """The rollout that ``wishes`` come to, and all that stands against it. Nothing is touched."""
    survey = opened.manager.survey()
    osds, more = _osds(opened, survey, opened.cluster.rollout.hooks)
    drafted = draft(opened.cluster, opened.site, opened.store, survey, wishes, osds)
    others = beside.others(opened.site.store, drafted.order)
    order, stuck = _arranged(beside.without(drafted.order, others))
    drafted = msgspec.structs.replace(drafted, order=order)
    hooks = opened.hooks(max(folders.numbers(opened.place), default=0) + 1)
    verifier = opened.verifier([node.name for node in order.nodes])
    findings = find(_asked(opened, drafted, survey, hooks, verifier, unverified=unverified))
    found = (*findings, *stuck, *more, *beside.findings(order, others))
    return Planned(order, tuple(sorted(dict.fromkeys(found))), _steps(order, hooks, verifier))


def _asked(
    opened: Opened,
    drafted: Draft,
    survey: Survey,
    hooks: Sequence[Hook],
    verifier: Verifier,
    *,
    unverified: bool,
) -> Asked:
    of = reached(survey.provisioners, head_site(opened.site))
    leaving = {node.category for node in drafted.order.nodes}  # `_no_way_back` tells of what they have
    asked = without_cloud(opened.site, opened.cluster)
    return Asked(
        draft=drafted,
        cluster=opened.cluster,
        site=opened.site,
        store=opened.store,
        survey=survey,
        head=opened.head,
        plan=lambda: look(asked, keepers(opened.site, asked), opened.site.store, leaving),
        refuse=[partial(folders.refuse_overlap, opened.site.store, drafted.order)],
        hooks=hooks,
        verifier=verifier,
        provisioners=tuple(of.values()),
        way=way(opened.site, of.values()),
        unverified=unverified,
    )


def _osds(
    opened: Opened, survey: Survey, hooks: Sequence[str]
) -> tuple[Mapping[str, Sequence[int]], list[Finding]]:
    """The OSDs of each node, when the site has the hook for Ceph; what is wrong with asking for them."""
    if "ceph" not in hooks:
        return {}, []
    try:
        hosts = osds_of(opened.head, opened.cluster.rollout.tables.ceph.program)
    except PipelineError as error:
        return {}, as_findings(error)
    told = []
    for host, name in strange_hosts(survey.nodes, hosts).items():
        osds = ", ".join(f"osd.{number}" for number in hosts[host])
        what = f"Ceph's host {host} has {osds} and is no node: taken for {name}"
        told.append(
            Finding("warning", what, host, "this release doesn't tell where OSDs run", "ceph osd tree")
        )
        hosts[f"{name}.{host}"] = hosts[host]
    return {name: found for name in survey.nodes if (found := osds_on(name, hosts))}, told


def _arranged(order: Order) -> tuple[Order, list[Finding]]:
    """The order with its batches; nodes whose turn can't come are findings."""
    try:
        batches = arrange(order.nodes, order.policy, order.unavailable)
    except PipelineError as error:
        return order, as_findings(error)
    return msgspec.structs.replace(order, batches=batches, who=person(), when=time.time()), []


def _steps(order: Order, hooks: Sequence[Hook], verifier: Verifier) -> dict[str, tuple[str, ...]]:
    """What is done with each node, in the order in which it is done."""
    found = {}
    stay = frozenset(order.not_rebooted)
    for node in order.nodes:
        mine = [hook for hook in hooks if hook.applies(node)]
        told = [(hook.name, step) for hook in mine for step in hook.steps(node)]
        image = order.wanted[node.name]
        if node.name in stay:
            found[node.name] = (
                f"softwareimage {order.own.get(node.name, image) or 'of its category'}, as before; no reboot",
                *(f"{name}: {step}" for name, step in told if step.startswith("after: ")),
            )
            continue
        found[node.name] = (
            *(f"{name}: {step}" for name, step in told if not step.startswith("after: ")),
            f"softwareimage {image}, next install mode {order.policy.install}",
            "reboot",
            "wait until it is UP and its provisioning is recorded",
            *verifier.steps(node, order.targets.get(image, Target(image))),
            *(f"{name}: {step}" for name, step in told if step.startswith("after: ")),
        )
    return found


def switched(opened: Opened, order: Order, category: str, image: str) -> None:
    """Remember which image a category has now for the one that its file named when this was ordered."""
    named = order.meant.get(category)
    if named is not None:
        rolled.note(opened.site.store, opened.cluster.name, category, named, image)


def plan_back(opened: Opened, kept: folders.Kept, nodes: str = "") -> Planned:
    """The rollout that takes ``kept`` back, or ``nodes`` of it, and what stands against it."""
    only = None
    if nodes:
        asked = expanded(nodes, opened.cluster.groups)
        if asked.fault:
            raise UsageError(asked.fault, where="--nodes")
        only = asked.names
    survey = opened.manager.survey()
    names = _hooks_back(opened, kept)
    osds, found = _osds(opened, survey, names)
    now = as_now(opened.cluster, survey, kept.order, osds)
    others = beside.others(opened.site.store, now, kept.folder)
    had = msgspec.structs.replace(beside.without(now, others), hooks=names)
    syncs = opened.manager.synced([name for name in kept.progress.nodes if name in survey.nodes])
    there = already.already_back(kept, survey, syncs)
    kept_now = msgspec.structs.replace(kept, order=had)
    order = returning.back_order(kept_now, survey, person(), only, syncs, there)
    already.refuse_back(order, there, survey)
    hooks: tuple[Hook, ...] = ()
    try:
        hooks = opened.hooks(order.back_of or 0, names)
    except UsageError as error:
        found += as_findings(error)
    verifier = opened.verifier([node.name for node in order.nodes])
    back = Back(order, kept, opened.cluster, opened.site, opened.store, survey, opened.head, hooks, there)
    found += [*find_back(back), *beside.findings(order, others)]
    return Planned(order, tuple(sorted(dict.fromkeys(found))), _steps(order, hooks, verifier))


def _hooks_back(opened: Opened, kept: folders.Kept) -> tuple[str, ...]:
    """The hooks of the file, and those of ``kept``: they undo what was begun with its nodes.

    A command that the file has no more is left out only when nothing can be left of what it began.
    """
    its = opened.cluster.rollout
    known = {*OURS, *(table.name for table in its.tables.command)}
    settled = all(node.state in ("waiting", "released") for node in kept.progress.nodes.values())
    left = (name for name in kept.order.hooks if name in known or not settled)
    return tuple(dict.fromkeys((*its.hooks, *left)))
