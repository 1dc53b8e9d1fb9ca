"""The cluster manager's side: images, categories, services, files and networks as recipes/clusters/ has them.

plan says what would change and touches nothing; apply does it and reads it back; status says what was
changed by hand since; import writes a first file from what there is; run does a task on live nodes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.cluster.importing import Imported
    from pipeline.cluster.keepers import Keepers
    from pipeline.cluster.model import Cluster
    from pipeline.cluster.plan import Plan
    from pipeline.recipe.model import Site


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, add, summary in (
        ("plan", _plan_arguments, "what would change; nothing is touched"),
        ("apply", _apply_arguments, "make the cluster as its file says, and read it back"),
        ("status", _one_cluster, "what was applied when, and what was changed by hand since"),
        ("import", _import_arguments, "write a first file from what there is"),
        ("run", _run_arguments, "a task on live nodes: firmware"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        add(verb)
        verb.add_argument("--json", action="store_true", help="one JSON document")


def _one_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cluster", nargs="?", metavar="CLUSTER", help="may be left out when there is one only"
    )


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    _one_cluster(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="keep the plan, for apply --plan FILE")
    _same_head(parser)


def _apply_arguments(parser: argparse.ArgumentParser) -> None:
    _one_cluster(parser)
    parser.add_argument("--plan", metavar="FILE", type=Path, help="do exactly this plan, or nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask, on a terminal either")
    parser.add_argument("--dry-run", action="store_true", help="as plan; also tells whether --plan holds")
    _same_head(parser)


def _same_head(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--same-head",
        action="store_true",
        help="the head node of the site file is that of the last apply, which had another name or address",
    )


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cluster", metavar="NAME", help="what the cluster is to be called")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="default: recipes/clusters/NAME.toml; - prints it"
    )


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    from pipeline.cli.cluster_run import arguments as of_run

    of_run(parser)


def run(options: argparse.Namespace) -> int:
    from pipeline.interrupts import ends_are_interruptions, work_begins
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    work_begins()
    ends_are_interruptions()
    _make_lab(site)
    does: dict[str, Callable[[argparse.Namespace, Site], int]] = {
        "plan": _plan,
        "apply": _apply,
        "status": _status,
        "import": _import,
        "run": _run,
    }
    return does[options.what](options, site)


def _make_lab(site: Site) -> None:
    """The lab's head node is there when it is asked for."""
    if site.lab is not None and site.head is not None and site.head.root == str(site.lab / "head/root"):
        from pipeline.lab.head.start import ensure

        ensure(site.lab / "head")


def _run(options: argparse.Namespace, site: Site) -> int:
    from pipeline.cli.cluster_run import run as run_task

    return run_task(options, site)


def _opened(options: argparse.Namespace, site: Site) -> tuple[Cluster, Keepers]:
    from msgspec.structs import replace

    from pipeline.cluster.load import load_cluster, only_cluster
    from pipeline.cluster.opening import keepers, without_cloud

    cluster = without_cloud(site, load_cluster(options.cluster or only_cluster(site), site))
    if getattr(options, "same_head", False):
        cluster = replace(cluster, same_head=True)
    opened = keepers(site, cluster)
    opened.refuse_unknown(cluster)
    return cluster, opened


def _plan(options: argparse.Namespace, site: Site) -> int:
    from pipeline.cluster.apply import look
    from pipeline.cluster.plan import keep, refuse_other

    agreed = _agreed(options)
    cluster, keepers = _opened(options, site)
    plan = look(cluster, keepers, site.store)
    if agreed is not None:
        refuse_other(agreed, plan)
    if getattr(options, "out", None):
        keep(plan, options.out)
    _print(options, cluster, plan, **_told(keepers))
    return _trouble(keepers)


def _agreed(options: argparse.Namespace) -> Plan | None:
    """The plan that is to be done, where one was given."""
    from pipeline.cluster.plan import kept

    return kept(options.plan) if getattr(options, "plan", None) else None


def _told(keepers: Keepers) -> dict[str, Any]:
    """What the JSON document says of what could not be asked."""
    return {"problems": keepers.trouble.problems if keepers.trouble else ()}


def _trouble(keepers: Keepers) -> int:
    """Tell what could not be asked, and is left out of a plan; the exit code for it."""
    for problem in keepers.trouble.problems if keepers.trouble else ():
        print(f"pipeline: {problem}", file=sys.stderr)
    return keepers.trouble.exit_code if keepers.trouble else 0


def _apply(options: argparse.Namespace, site: Site) -> int:
    if options.dry_run:
        return _plan(options, site)
    from pipeline.cluster.apply import apply

    agreed = _agreed(options)
    cluster, keepers = _opened(options, site)
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not (options.yes or options.json or agreed)
    done = apply(
        cluster,
        keepers,
        site.store,
        agreed=agreed,
        agree=(lambda plan: _ask(cluster, plan)) if asks else None,
    )
    if asks and done.plan.changes:
        print(f"{cluster.name}: applied in {done.seconds:.1f} s, read back as wanted")
        return 0
    _print(options, cluster, done.plan, applied=True, seconds=round(done.seconds, 3))
    if done.plan.changes and not options.json:
        print(f"applied in {done.seconds:.1f} s, read back as wanted")
    return 0


def _ask(cluster: Cluster, plan: Plan) -> bool:
    from pipeline.cli.cluster_text import lines

    print("\n".join(lines(cluster, plan)), file=sys.stderr)
    print("apply this? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _status(options: argparse.Namespace, site: Site) -> int:
    from pipeline.cli.text import when
    from pipeline.cluster.apply import look
    from pipeline.cluster.renamed import known
    from pipeline.printable import counted

    cluster, keepers = _opened(options, site)
    last = known(site.store, cluster).last
    plan = look(cluster, keepers, site.store)
    drifted = sum(change.drift for change in plan.changes)
    if options.json:
        _print(options, cluster, plan, applied_at=last.when or None, drifted=drifted, **_told(keepers))
        return _trouble(keepers)
    print(f"{cluster.name}: last applied {when(last.when) if last.when else 'never'}")
    unknown = f", {len(plan.unasked)} could not be asked" if plan.unasked else ""
    left = len(plan.changes) - drifted
    print(f"{counted(drifted, 'object')} changed by hand since, {left} not yet applied{unknown}")
    if plan.changes:
        print(f"  run: pipeline cluster plan {cluster.name}")
    return _trouble(keepers)


def _import(options: argparse.Namespace, site: Site) -> int:
    from pipeline.cli.cluster_text import json_text, one_line
    from pipeline.cluster.importing import import_cluster

    usual = site.recipes / "clusters" / f"{options.cluster}.toml"
    file = options.out or usual
    printed = str(file) == "-"
    imported = import_cluster(options.cluster, site, None if printed else file)
    for note in imported.notes:
        print(f"note: {one_line(note)}", file=sys.stderr)
    for each in imported.left_out:
        print(f"left out: {one_line(each)}", file=sys.stderr)
    for problem in imported.problems:
        print(f"pipeline: {problem}", file=sys.stderr)
    if options.json:
        document = {
            "cluster": options.cluster,
            "file": str(file),
            "text": imported.text if printed else None,
            "left_out": imported.left_out,
            "notes": imported.notes,
            "changes": [str(change.ref) for change in imported.changes],
            "problems": imported.problems,
        }
        print(json_text(document))
    elif printed:
        print(imported.text, end="")
        if imported.changes:
            print(f"note: {_planned(imported)}", file=sys.stderr)
    else:
        _tell_imported(options.cluster, imported, file, usual)
    return 1 if imported.problems else 0


def _planned(imported: Imported) -> str:
    from pipeline.printable import counted

    found = counted(len(imported.changes), "change")
    return f"it is not quite what is there: a plan finds {found} to make"


def _tell_imported(name: str, imported: Imported, file: Path, usual: Path) -> None:
    from pipeline.printable import counted
    from pipeline.recipe.findings import shown

    said = "it has what is there, so that a plan finds nothing to do"
    if imported.changes:
        said = _planned(imported)
    if imported.problems:
        said = f"{counted(len(imported.problems), 'problem')} to be mended before it can be planned"
    print(f"{shown(file)}: written; {said}")
    if file.resolve() != usual.resolve():
        print(f"  a plan reads {shown(usual)}: move it there first")
    print(f"  run: pipeline cluster plan {name}")


def _print(options: argparse.Namespace, cluster: Cluster, plan: Plan, **more: Any) -> None:
    from pipeline.cli import cluster_text

    if options.json:
        print(cluster_text.json_text(cluster_text.document(cluster, plan, **more)))
    else:
        print("\n".join(cluster_text.lines(cluster, plan)))
