"""The rollouts that there are: which one is meant, and giving it up."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.errors import Problem
    from pipeline.recipe.model import Site
    from pipeline.rollout.commands import Verb
    from pipeline.rollout.folder import Kept, Lost
    from pipeline.rollout.journal import DamagedError
    from pipeline.rollout.opening import Opened


MEANT = {"resume": "resumed", "abort": "aborted", "rollback": "taken back"}
"""What becomes of a rollout. Without a number that has to be the only one that can be meant."""


def kept_of(options: argparse.Namespace, site: Site) -> Kept:
    """The one that is asked for: that of ``--number``, or the one that is meant without."""
    from pipeline.rollout import folder

    place = _place(options.cluster, site)
    return folder.read(place, _number(options, place))


def _number(options: argparse.Namespace, place: Path) -> int:
    """Which one is meant: to look at the last one; to do something the one that is not at its end.

    Raises ``UsageError`` when others can be meant as well: theirs are other people's nodes.
    """
    from pipeline.errors import Problem, UsageError
    from pipeline.rollout import folder

    if options.number is not None:
        return int(options.number)
    numbers = folder.numbers(place)
    if not numbers:
        raise UsageError(
            f"there was no rollout of {options.cluster} yet",
            command=f"pipeline rollout start {options.cluster} --dry-run",
        )
    if options.what not in MEANT:
        return numbers[-1]
    found = folder.unfinished_in(place)
    known = [folder.number_of(one.folder) for one in found]
    if options.what == "rollback" and known and numbers[-1] not in known:  # it may be taken back as well
        found.append(folder.read_or_lost(place, numbers[-1]))
    if len(found) > 1:
        what = f"which rollout of {options.cluster} is to be {MEANT[options.what]} has to be said: --number N"
        raise UsageError([Problem(what), *(_candidate(options.what, one) for one in found)])
    return known[0] if known else numbers[-1]


def _candidate(verb: Verb, one: Kept | Lost) -> Problem:
    """One of those that can be meant: whose it is, how it is, and the command for it."""
    from pipeline.cluster.nodesets import folded
    from pipeline.errors import Problem
    from pipeline.rollout import folder
    from pipeline.rollout.commands import command_of

    name = f"rollout {folder.number_of(one.folder)}"
    if isinstance(one, folder.Lost):
        is_ended = folder.is_at_its_end(one.folder)
        told = None if is_ended else folder.abort_command(one.folder)
        return Problem(f"{name} can't be read", str(one.folder), command=told)
    order = one.order
    how = "is running" if one.is_running else "has not come to its end"
    if not one.is_unfinished:
        how = "has ended"
    if (verb == "resume" and one.is_running) or (order.back_of is not None and not one.is_unfinished):
        verb = "status"
    nodes = folded(node.name for node in order.nodes)
    return Problem(f"{name} of {nodes}, begun by {order.who}, {how}", command=command_of(verb, order))


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
    from pipeline.rollout.commands import command_of

    if kept.is_running:
        raise PipelineError(
            f"rollout {kept.order.number} of {kept.order.cluster} is running",
            hint="watch it with status, stop it with abort",
            command=command_of("abort", kept.order),
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
    from pipeline.rollout.commands import command_of
    from pipeline.rollout.journal import DamagedError
    from pipeline.rollout.opening import open_to_end, person

    place = _place(options.cluster, site)
    number = _number(options, place)
    try:
        kept = folder.read(place, number)
    except DamagedError as error:
        return _abort_damaged(options, folder.folder_of(place, number), error)
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
        print(f"  run: {command_of('status', kept.order)}")
    return 0


def _abort_damaged(options: argparse.Namespace, where: Path, error: DamagedError) -> int:
    """One whose order or journal can't be read is only ended; what is known of its nodes is said."""
    from pipeline.rollout import folder
    from pipeline.rollout.opening import person

    number = folder.number_of(where)
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
