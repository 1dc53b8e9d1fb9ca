"""Tasks on live nodes: ``pipeline cluster run firmware``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.cluster.fanout import Target, Way
    from pipeline.cluster.firmware import Chosen
    from pipeline.cluster.model import Cluster, Firmware
    from pipeline.cluster.runs import Record
    from pipeline.recipe.model import Site

LONGEST_SECONDS = 7 * 24 * 3600
"""For a node, where a limit is set; without one it may take as long as it takes."""

ORDER = ("failed", "unreachable", "busy", "interrupted", "not run", "updated", "up to date")
"""In which results are told: what needs somebody first."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task", choices=("firmware",), help="firmware: the vendor's installer on [firmware]'s nodes"
    )
    parser.add_argument(
        "cluster", nargs="?", metavar="CLUSTER", help="may be left out when there is one only"
    )
    parser.add_argument("--nodes", metavar="SET", help="only these of them: node[001-003],node007")
    parser.add_argument("--retry", action="store_true", help="only those not done yet")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run where")
    parser.add_argument("--fanout", metavar="N", type=int, default=0, help="nodes at once (default: 64)")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=0, help="for each node (default: none)"
    )
    parser.add_argument(
        "--topology", metavar="FILE", type=Path, help="a topology.conf of ClusterShell: tree mode"
    )


def run(options: argparse.Namespace, site: Site) -> int:
    """Parse, call, print; 0 when every node that was asked for is updated or up to date."""
    from functools import partial

    from pipeline.cluster.firmware import choose, run_firmware
    from pipeline.cluster.load import load_cluster, only_cluster
    from pipeline.errors import UsageError
    from pipeline.rollout.burning import refuse_rolling

    cluster = load_cluster(options.cluster or only_cluster(site), site)
    order = cluster.firmware
    if order is None:
        raise UsageError("the cluster file has no table [firmware]", where=str(cluster.file))
    targets = _targets(order, cluster, site)
    way = _way(options, targets, site)
    runs = site.store / "clusters" / cluster.name / "runs"
    chosen = choose(order, targets, runs, nodes=_nodes(options.nodes, cluster), retry=options.retry)
    refuse = partial(refuse_rolling, site.store, [target.name for target in chosen.targets])
    refuse()
    if options.dry_run:
        _print_dry(options, order, chosen)
        return 0
    if not chosen.targets and options.retry:
        print(f"firmware-{chosen.retry_of}: no node is left to be done", file=sys.stderr)
    record = run_firmware(order, chosen, runs, cluster=cluster.name, way=way, show=_show, refuse=refuse)
    _print(options, record, runs / record.word)
    return 0 if all(record.results[name].is_done for name in record.names) else 1


def table(record: Record) -> str:
    """A line for each node, those that need somebody first, and how many there are of each kind."""
    from pipeline.cli.text import seconds
    from pipeline.cli.text import table as aligned
    from pipeline.cluster.differing import shown

    ranked = sorted(record.results.items(), key=lambda item: (ORDER.index(item[1].status), item[0]))
    rows = [
        (name, result.status, seconds(result.seconds) if result.seconds else "", shown(result.why))
        for name, result in ranked
    ]
    return "\n".join([aligned(("NODE", "RESULT", "TIME", ""), rows, frozenset({2})), counts(record)])


def counts(record: Record) -> str:
    """``2 updated, 1 failed``."""
    found = [result.status for result in record.results.values()]
    told = [f"{found.count(status)} {status}" for status in reversed(ORDER) if status in found]
    return ", ".join(told) or "no nodes"


def _targets(order: Firmware, cluster: Cluster, site: Site) -> tuple[Target, ...]:
    from pipeline.cluster import livenodes
    from pipeline.cluster.objects import HEAD
    from pipeline.cluster.opening import driver, head_site
    from pipeline.errors import UsageError

    ask = livenodes.needs_manager(order)
    there = driver(site).read(livenodes.asked(order, cluster)).objects if ask else {}
    members = livenodes.members(cluster, there)
    nodes = _nodes(order.nodes, cluster) if order.nodes else ()
    lab = livenodes.lab_configuration(site) is not None
    targets = livenodes.targets(order, members, nodes or (), head_site(site), lab=lab)
    if ask:
        livenodes.refuse_unknown([target.name for target in targets], there)
    notes = livenodes.beyond(order, cluster, there)
    if order.head and lab:
        notes = (*notes, f"{HEAD.name}: left out, the lab's head node is a directory and no machine")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if not targets:
        raise UsageError("no node is left on which anything could be run", where="[firmware]")
    return targets


def _way(options: argparse.Namespace, targets: tuple[Target, ...], site: Site) -> Way:
    import msgspec

    from pipeline.cluster import livenodes
    from pipeline.cluster.gateways import refuse_wrong
    from pipeline.errors import UsageError

    if options.fanout < 0 or not 0 <= options.timeout <= LONGEST_SECONDS:
        raise UsageError(f"--fanout is not negative, --timeout is 0 to {LONGEST_SECONDS} seconds")
    if options.topology is not None:
        refuse_wrong(options.topology)
    way = livenodes.way(site, targets, options.fanout, options.timeout)
    return msgspec.structs.replace(way, topology=options.topology)


def _nodes(text: str | None, cluster: Cluster) -> tuple[str, ...] | None:
    """The names of a node set, which may have the groups of the cluster file; None where none is given."""
    if text is None:
        return None
    from pipeline.cluster.nodesets import expanded
    from pipeline.errors import UsageError

    found = expanded(text, cluster.groups)
    if found.fault:
        raise UsageError(found.fault)
    return found.names


def _show(node: str, line: str) -> None:
    from pipeline.cluster.differing import shown

    print(f"{node}: {shown(line)}", file=sys.stderr, flush=True)


def _print_dry(options: argparse.Namespace, order: Firmware, chosen: Chosen) -> None:
    from pipeline.cluster.firmware import steps
    from pipeline.cluster.nodesets import folded

    names = [target.name for target in chosen.targets]
    if options.json:
        _json({"nodes": names, "commands": list(steps(order)), "retry_of": chosen.retry_of})
        return
    print(f"on {folded(names) if names else 'no node'} ({len(names)}), nothing was run:")
    print("\n".join(f"  {step}" for step in steps(order)))


def _print(options: argparse.Namespace, record: Record, folder: Path) -> None:
    if options.json:
        import msgspec

        _json({**msgspec.to_builtins(record), "logs": str(folder)})
        return
    print(table(record))
    print(f"logs: {folder}")
    if any(result.status == "updated" for result in record.results.values()):
        print("new firmware works from a node's next reboot on")
    if not all(result.is_done for result in record.results.values()):
        print(f"  run: pipeline cluster run firmware {record.cluster} --retry")


def _json(document: dict[str, object]) -> None:
    import json

    print(json.dumps(document, indent=2))
