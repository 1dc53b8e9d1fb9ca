"""The rollouts that there are: which one is meant, and giving it up."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.recipe.model import Site
    from pipeline.rollout.folder import Kept
    from pipeline.rollout.journal import DamagedError
    from pipeline.rollout.opening import Opened


def kept_of(options: argparse.Namespace, site: Site) -> Kept:
    """The one that is asked for: the last one, or that of ``--number``."""
    from pipeline.errors import UsageError
    from pipeline.rollout import folder

    place = _place(options.cluster, site)
    if options.number is not None:
        return folder.read(place, options.number)
    kept = folder.last(place)
    if kept is None:
        raise UsageError(
            f"there was no rollout of {options.cluster} yet",
            command=f"pipeline rollout start {options.cluster} --dry-run",
        )
    return kept


def _place(cluster: str, site: Site) -> Path:
    """Where its rollouts are kept, of a cluster that there is: with a file, or with rollouts from before."""
    from pipeline.cluster.load import cluster_file
    from pipeline.recipe.names import file_name_fault
    from pipeline.rollout import folder

    place = folder.rollouts(site.store, cluster)
    if file_name_fault(cluster) or not place.is_dir():
        cluster_file(cluster, site)
    return place


def refuse_running(kept: Kept) -> None:
    """Raise ``PipelineError`` when a process works on it."""
    from pipeline.errors import PipelineError

    if kept.is_running:
        raise PipelineError(
            f"rollout {kept.order.number} of {kept.order.cluster} is running",
            hint="watch it with status, stop it with abort",
            command=f"pipeline rollout abort {kept.order.cluster}",
        )


def give_up(opened: Opened, kept: Kept) -> tuple[str, ...]:
    """End one that nobody runs, and undo what was only begun; what could not be undone beside its nodes."""
    from functools import partial

    from pipeline.rollout.opening import person, switched
    from pipeline.rollout.running import give_up

    order = kept.order
    hooks = opened.hooks(order.back_of or order.number, order.hooks)
    now = give_up(kept.folder, order, opened.manager, hooks, person(), partial(switched, opened, order))
    return now.notes[len(kept.progress.notes) :]


def abort(options: argparse.Namespace, site: Site) -> int:
    """Have whoever runs it begin nothing new; give it up when nobody does."""
    from pipeline.errors import UsageError
    from pipeline.rollout import folder
    from pipeline.rollout.journal import DamagedError
    from pipeline.rollout.opening import open_to_end, person

    try:
        kept = kept_of(options, site)
    except DamagedError as error:
        return _abort_damaged(options, site, error)
    name = f"rollout {kept.order.number} of {kept.order.cluster}"
    if not kept.is_unfinished:
        raise UsageError(f"{name} is at its end")
    if kept.is_running:
        folder.ask_to_abort(kept.folder, person())
        said = f"{name}: nothing new is begun; nodes on their way come to their end"
    else:
        notes = give_up(open_to_end(kept, site), kept)
        said = f"{name}: given up; what was only begun is undone, all else is as it is"
        said = "\n  but: ".join((said, *notes))
    if options.json:
        print_json({"cluster": kept.order.cluster, "rollout": kept.order.number, "running": kept.is_running})
    else:
        print(said)
        print(f"  run: pipeline rollout status {kept.order.cluster}")
    return 0


def _abort_damaged(options: argparse.Namespace, site: Site, error: DamagedError) -> int:
    """One whose order or journal can't be read is only ended; what is known of its nodes is said."""
    from pipeline.rollout import folder
    from pipeline.rollout.opening import person

    place = folder.rollouts(site.store, options.cluster)
    number = options.number if options.number is not None else folder.numbers(place)[-1]
    where = folder.folder_of(place, number)
    if folder.is_at_its_end(where):
        raise error
    running = folder.is_running(where)
    if running:
        folder.ask_to_abort(where, person())
        said = "nothing new is begun; nodes on their way come to their end"
        known = folder.lost(where)
    else:
        known = folder.abandon(where, person())
        said = "given up, though it could not be read; nothing was undone"
    if options.json:
        nodes = {name: node.state for name, node in known.progress.nodes.items()}
        print_json({"cluster": options.cluster, "rollout": number, "running": running, "last_known": nodes})
        return 0
    print(f"rollout {number} of {options.cluster}: {said}")
    print(f"  the last that is known of its nodes: {known.states() or 'nothing'}")
    print("  see in the cluster manager how they are, and what hooks left: noout in Ceph, nodes disabled")
    print("  in Nova or drained in Slurm")
    print(f"  run: pipeline rollout start {options.cluster} --dry-run")
    return 0


def print_json(document: dict[str, Any]) -> None:
    """One document for programs."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
