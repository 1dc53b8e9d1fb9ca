"""Which live nodes a task is for, and how ssh gets there."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.cluster.fanout import FANOUT, Target, Way
from pipeline.cluster.model import Cluster, Firmware
from pipeline.cluster.nodesets import folded
from pipeline.cluster.objects import HEAD, Properties, Ref, Wanted
from pipeline.errors import Problem, UsageError
from pipeline.nearest import nearest
from pipeline.recipe.model import HeadSite, Site

THROUGH_HEAD = 8
"""Connections at once through the head node: its sshd refuses some when more than ten begin (MaxStartups)."""

NOT_UP = "it is not up in the lab: pipeline lab up"

KEYS = {"-i": "IdentityFile", "-p": "Port", "-l": "User", "-J": "ProxyJump"}
"""Options of ssh(1) as those of ssh_config(5)."""


def members(cluster: Cluster, there: Mapping[Ref, Properties]) -> dict[str, tuple[str, ...]]:
    """The nodes of each category: those that the file says, and those that are in it, as ``there`` says."""
    found: dict[str, set[str]] = {}
    for ref, values in there.items():
        if ref.kind == "node" and values.get("category"):
            found.setdefault(str(values["category"]), set()).add(ref.name)
    for node, category in _said(cluster).items():
        found.setdefault(category, set()).add(node)
    return {category: tuple(sorted(nodes)) for category, nodes in found.items()}


def beyond(order: Firmware, cluster: Cluster, there: Mapping[Ref, Properties]) -> tuple[str, ...]:
    """A note for each category of the step that has nodes of which the file says nothing, or otherwise."""
    said = _said(cluster)
    found = []
    for category in order.categories:
        nodes = members(cluster, there).get(category, ())
        if category in said.values() and (others := [node for node in nodes if said.get(node) != category]):
            found.append(f"{folded(others)}: in {category} now, but not by the cluster file")
    return tuple(found)


def _said(cluster: Cluster) -> dict[str, str]:
    return {
        item.ref.name: str(item.exact["category"])
        for item in cluster.wanted
        if item.ref.kind == "node" and item.exact.get("category")
    }


def needs_manager(order: Firmware) -> bool:
    """Whether the cluster manager must be asked: it knows which nodes there are, and where they are now."""
    return bool(order.categories or order.nodes)


def refuse_unknown(names: Iterable[str], there: Mapping[Ref, Properties]) -> None:
    """Raise ``UsageError`` with all of ``names`` that are no nodes."""
    known = {ref.name for ref in there if ref.kind == "node"}
    missing = [name for name in names if name != HEAD.name and name not in known]
    if missing:
        raise UsageError(Problem(f'no node "{name}"{nearest(name, known)}', "[firmware]") for name in missing)


def asked(order: Firmware, cluster: Cluster) -> tuple[Wanted, ...]:
    """What to ask the cluster manager for when it must be: the categories of the file and of the step."""
    files = (item.ref for item in cluster.wanted if item.ref.kind == "category")
    steps = (Ref("category", name) for name in order.categories)
    return tuple(Wanted(ref, make=False) for ref in dict.fromkeys([*files, *steps]))


def targets(
    order: Firmware,
    of_category: Mapping[str, Sequence[str]],
    nodes: Iterable[str],
    head: HeadSite,
    *,
    lab: bool,
) -> tuple[Target, ...]:
    """The nodes of the step, those of categories first, the head node last, each once.

    Nodes are reached through the head node when that is another machine. The head node itself is this machine
    when the site names no address. That of the ``lab`` is no machine, and left out.
    """
    empty = [category for category in order.categories if not of_category.get(category)]
    if empty:
        raise UsageError(
            f"no nodes are in {', '.join(empty)}",
            where="[firmware]",
            hint="the cluster file or the cluster manager says which nodes a category has",
        )
    names = [name for category in order.categories for name in of_category[category]]
    way = _through(head) if head.address else ()
    found = [Target(name, options=way) for name in dict.fromkeys([*names, *nodes]) if name != HEAD.name]
    if order.head and not lab:
        found.append(head_target(head))
    return tuple(found)


def lab_configuration(site: Site) -> Path | None:
    """ssh's configuration for the nodes of the lab, which is there while they are up; None when the site has
    other nodes: it is no lab, or one with the head node of a cluster."""
    is_lab = site.lab is not None and not (site.head and site.head.address)
    return site.lab / "nodes/ssh_config" if site.lab and is_lab else None


def way(site: Site, targets: Collection[Target], fanout: int = 0, seconds: float = 0) -> Way:
    """How ssh gets to ``targets`` of ``site``, ``fanout`` at once (0: as many as is usual)."""
    return Way(
        fanout=fanout or (THROUGH_HEAD if is_through_head(targets) else FANOUT),
        seconds=seconds,
        configuration=lab_configuration(site),
        otherwise=NOT_UP,
    )


def reached(names: Iterable[str], head: HeadSite) -> dict[str, Target]:
    """How ssh gets to nodes of these names: through the head node when that is another machine."""
    way = _through(head) if head.address else ()
    return {name: Target(name, options=way) for name in names}


def head_target(head: HeadSite) -> Target:
    """The head node as a node."""
    if not head.address:
        return Target(HEAD.name, local=True)
    user, host, port = _parts(head.address)
    options = (*((f"User={user}",) if user else ()), *as_configuration(head.ssh_options))
    return Target(HEAD.name, host, port, options)


def as_configuration(words: Sequence[str]) -> tuple[str, ...]:
    """Options of ssh's command line as ``Key=Value`` of its configuration."""
    found, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        key, value = word[:2], word[2:] or (rest.pop(0) if rest else "")
        if key == "-o" and value:
            found.append("=".join(part.strip() for part in value.replace("=", " ", 1).split(None, 1)))
        elif key in KEYS and value:
            found.append(f"{KEYS[key]}={value}")
        else:
            raise UsageError(
                f"the ssh option {word!r} can't be used for nodes",
                where="[head] ssh_options",
                hint=f"write it as -o Key=Value; {', '.join(KEYS)} are known as they are",
            )
    return tuple(found)


def is_through_head(found: Collection[Target]) -> bool:
    return any(option.startswith("ProxyCommand=") for target in found for option in target.options)


def _through(head: HeadSite) -> tuple[str, ...]:
    user, host, port = _parts(head.address)
    words = ["ssh", "-o", "BatchMode=yes", *head.ssh_options]
    words += ["-p", str(port)] if port else []
    words += ["-l", user] if user else []
    return (f"ProxyCommand={shlex.join(words)} -W [%h]:%p {shlex.quote(host)}",)


def _parts(address: str) -> tuple[str, str, int]:
    """User, host and port of what ssh takes: ``root@head``, ``ssh://root@head:2222``."""
    plain = address.removeprefix("ssh://").rstrip("/")
    user, _, host = plain.rpartition("@")
    port = ""
    if address.startswith("ssh://"):
        name, colon, number = host.rpartition(":")
        host, port = (name, number) if colon and number.isdigit() else (host, "")
    return user, host.strip("[]"), int(port or 0)
