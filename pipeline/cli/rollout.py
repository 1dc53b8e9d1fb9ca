"""Nodes to a version of their image, in a safe order, each verified; and back.

start does it, and resume goes on after an interruption; status and abort work from another terminal; rollback
takes nodes back to what they had before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.rollout_kept import abort, give_up, kept_of, print_json, refuse_running

if TYPE_CHECKING:
    from pipeline.cli.rollout_board import Watching
    from pipeline.errors import Problem
    from pipeline.recipe.model import Site
    from pipeline.rollout.folder import Kept
    from pipeline.rollout.model import Order
    from pipeline.rollout.opening import Opened, Planned
    from pipeline.rollout.states import Progress


REDRAW_SECONDS = 0.5


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, add, summary in (
        ("start", _start_arguments, "take nodes to a version"),
        ("status", _number_argument, "how the nodes of a rollout are"),
        ("resume", _resume_arguments, "go on with a rollout that was interrupted or stopped"),
        ("abort", _open_argument, "begin nothing new; of a rollout that nobody runs: give it up"),
        ("rollback", _rollback_arguments, "take nodes back to what they had before a rollout"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        verb.add_argument(
            "cluster", nargs="?", metavar="CLUSTER", help="may be left out when there is one only"
        )
        add(verb)
        verb.add_argument("--json", action="store_true", help="one JSON document")


def _number_argument(parser: argparse.ArgumentParser, default: str = "the last one") -> None:
    parser.add_argument("--number", metavar="N", type=int, help=f"which rollout (default: {default})")


def _open_argument(parser: argparse.ArgumentParser) -> None:
    _number_argument(parser, "the one that is not at its end")


def _running_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="plain lines also on a terminal")


def _asking_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", metavar="SET", help="only these: node[001-003],node007 or @group")
    parser.add_argument("--dry-run", action="store_true", help="print the whole plan, touch nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask, on a terminal either")
    _running_arguments(parser)


def _start_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image",
        metavar="IMAGE@N",
        action="append",
        default=[],
        help="a version (default: what is published of each image of the cluster file)",
    )
    parser.add_argument("--unverified", action="store_true", help="even a version that fails its tests")
    parser.add_argument("--skip-down", action="store_true", help="leave out nodes that are down")
    _asking_arguments(parser)


def _resume_arguments(parser: argparse.ArgumentParser) -> None:
    _open_argument(parser)
    parser.add_argument("--retry", action="store_true", help="nodes that failed have their turn once more")
    _running_arguments(parser)


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    _number_argument(parser)
    _asking_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from pipeline.cluster.load import only_cluster
    from pipeline.interrupts import ends_are_interruptions, work_begins
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    work_begins()
    ends_are_interruptions()
    options.cluster = options.cluster or only_cluster(site)
    does: dict[str, Callable[[argparse.Namespace, Site], int]] = {
        "start": _start,
        "status": _status,
        "resume": _resume,
        "abort": abort,
        "rollback": _rollback,
    }
    return does[options.what](options, site)


def _start(options: argparse.Namespace, site: Site) -> int:
    from pipeline.rollout.opening import open_rollouts, plan
    from pipeline.rollout.ordering import Wishes

    _refuse_empty(options.nodes)
    opened = open_rollouts(options.cluster, site)
    wishes = Wishes(options.nodes or "", tuple(options.image), options.skip_down)
    return _begin(options, opened, lambda: plan(opened, wishes, unverified=options.unverified))


def _rollback(options: argparse.Namespace, site: Site) -> int:
    from pipeline.rollout import folder
    from pipeline.rollout.opening import open_kept, plan_back

    _refuse_empty(options.nodes)
    kept = kept_of(options, site)
    opened = open_kept(kept, site)
    refuse_running(kept)
    if options.number is None:
        _refuse_forward(kept)
    place, number = kept.folder.parent, kept.order.number

    def planned() -> Planned:
        now = folder.read(place, number)
        refuse_running(now)
        return plan_back(opened, now, options.nodes or "")

    return _begin(options, opened, planned, kept)


def _begin(
    options: argparse.Namespace, opened: Opened, plan: Callable[[], Planned], takes_back: Kept | None = None
) -> int:
    """Tell what stands against it, ask, and do it; ``plan`` is asked once more after the answer."""
    from pipeline.cli.rollout_text import plan_lines
    from pipeline.errors import PipelineError
    from pipeline.rollout import folder

    planned = plan()
    if options.dry_run:
        if options.json:
            print_json({**_planned_document(planned), "findings": planned.findings})
        else:
            print("\n".join(plan_lines(planned.order, planned.steps, planned.findings)))
        return 2 if planned.errors else 0
    if planned.errors:
        raise _refusal(planned)
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not (options.yes or options.json)
    if asks:
        print("\n".join(plan_lines(planned.order, planned.steps, planned.findings)), file=sys.stderr)
        print("begin? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise PipelineError("nothing was begun")
        planned = _as_agreed(planned, plan())
    else:
        _warn(planned)
    if takes_back is not None and takes_back.is_unfinished:
        give_up(opened, takes_back)
    place = folder.begin(opened.site.store, planned.order)
    return _go_on(options, opened, place)


def _as_agreed(agreed: Planned, now: Planned) -> Planned:
    """``now``, when it is what was agreed to: others may have worked meanwhile. Who is down counts anyway."""
    from msgspec.structs import replace

    from pipeline.errors import PipelineError

    if now.errors:
        raise _refusal(now)
    order = replace(now.order, when=agreed.order.when, unavailable=agreed.order.unavailable)
    if order != agreed.order or now.steps != agreed.steps:
        raise PipelineError(
            f"the rollout of {order.cluster} is otherwise by now than what you agreed to: nothing was begun",
            hint="nodes or other rollouts have changed since you were asked; give the same command again",
        )
    return now


def _refuse_forward(kept: Kept) -> None:
    """Taking back what has taken back would go forward again, to what somebody wanted to leave."""
    from pipeline.errors import UsageError
    from pipeline.rollout.commands import command_of

    order = kept.order
    if order.back_of is not None and not kept.is_unfinished:
        raise UsageError(
            f"rollout {order.number}, the last one, has taken rollout {order.back_of} back already",
            hint=f"forward again: pipeline rollout start {order.cluster} --image IMAGE@N; "
            "another one back: --number N",
            command=command_of("status", order),
        )


def _planned_document(planned: Planned) -> dict[str, Any]:
    order = planned.order
    return {
        "cluster": order.cluster,
        "targets": {name: str(order.targets[image]) for name, image in order.wanted.items()},
        "batches": order.batches,
        "steps": planned.steps,
    }


def _refusal(planned: Planned) -> Exception:
    from pipeline.errors import Problem, UsageError

    return UsageError(
        Problem(each.what, each.where or None, each.hint or None, each.command or None)
        for each in planned.errors
    )


def _warn(planned: Planned) -> None:
    from pipeline.cli.rollout_text import finding_lines

    for line in finding_lines(planned.findings):
        print(line, file=sys.stderr)


def _resume(options: argparse.Namespace, site: Site) -> int:
    from pipeline.errors import UsageError
    from pipeline.rollout.checks_resume import refuse_resume
    from pipeline.rollout.checks_signed import withheld
    from pipeline.rollout.commands import command_of
    from pipeline.rollout.opening import open_kept

    kept = kept_of(options, site)
    refuse_running(kept)
    if not kept.is_unfinished:
        raise UsageError(
            f"rollout {kept.order.number} of {kept.order.cluster} is at its end",
            command=command_of("status", kept.order),
        )
    opened = open_kept(kept, site)
    unsigned = withheld(site, opened.store, kept, retry=options.retry)
    order = kept.order
    hooks = opened.hooks(order.back_of or order.number, order.hooks)
    verifier = opened.verifier([node.name for node in order.nodes])
    refuse_resume(kept, hooks, verifier, retry=options.retry)
    return _go_on(options, opened, kept.folder, unsigned)


def _go_on(options: argparse.Namespace, opened: Opened, place: Path, unsigned: Sequence[Problem] = ()) -> int:
    """Run the rollout in ``place`` to its end, watched; then the report. ``unsigned`` is why it begins
    nothing new."""
    from functools import partial

    from pipeline.cli.rollout_board import watching_rollout
    from pipeline.errors import PipelineError
    from pipeline.rollout import folder
    from pipeline.rollout.opening import switched
    from pipeline.rollout.running import run as run_rollout

    kept = folder.read(place.parent, folder.number_of(place))
    order = kept.order
    if unsigned:
        print(f"pipeline: {unsigned[-1].message}; nodes on their way come to their end", file=sys.stderr)
    watching = watching_rollout(order, plain=options.plain, folder=place)
    with told_when_interrupted(order, place), watching as board:
        progress = run_rollout(
            place,
            order,
            opened.manager,
            opened.hooks(order.back_of or order.number, order.hooks),
            opened.verifier([node.name for node in order.nodes]),
            watch=lambda now: board.update(order, now),
            switched=partial(switched, opened, order),
            retry=getattr(options, "retry", False),
            withheld=f"its version is not signed by now: {unsigned[0].message}" if unsigned else "",
            pause=partial(_wait, board),
        )
    code = tell_end(options, opened, place, order, progress)
    if unsigned and progress.outcome != "ended":
        raise PipelineError(unsigned)
    return code


@contextmanager
def told_when_interrupted(order: Order, place: Path) -> Iterator[None]:
    """Ctrl-C, or a full disk, ends this command, not what nodes do."""
    from pipeline.errors import PipelineError
    from pipeline.interrupts import exit_code
    from pipeline.rollout.commands import command_of

    resume = command_of("resume", order)
    try:
        yield
    except KeyboardInterrupt as end:
        error = PipelineError(
            "interrupted; nodes that are on their way go on by themselves",
            hint="resume sees how far they are, and repeats nothing",
            command=resume,
        )
        error.exit_code = exit_code(end)
        raise error from None
    except BrokenPipeError:
        raise
    except OSError as end:
        where = end.filename or f"the output, or a file in {place}"
        raise PipelineError(
            f"{where}: {end.strerror or end}",
            hint="nodes that are on their way go on by themselves; put it right, then resume repeats nothing",
            command=resume,
        ) from None


def _wait(board: Watching, seconds: float) -> None:
    """Let time pass; clocks on the board go on."""
    import time

    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, REDRAW_SECONDS))
        board.refresh()


def tell_end(
    options: argparse.Namespace, opened: Opened, place: Path, order: Order, progress: Progress
) -> int:
    """Write the report, and say how all is; returns the exit code."""
    import time

    from pipeline.cli.rollout_text import document, status_lines
    from pipeline.errors import PipelineError
    from pipeline.rollout import report
    from pipeline.rollout.differing import differing

    cluster = opened.cluster
    different = differing(progress, cluster.parameters, cluster.parameters_for)
    how: dict[str, Any] = {"is_running": False, "folder": place, "differences": different}
    written = None
    try:
        written = report.write(place, order, progress, time.time(), differences=different)
    except PipelineError as error:  # such as a full disk: how the nodes are is told all the same
        print(f"pipeline: {error}", file=sys.stderr)
    if options.json:
        files = {"html": str(written[0]), "junit": str(written[1])} if written else None
        print_json(document(order, progress, **how, report=files))
    else:
        print("\n".join(status_lines(order, progress, **how)))
        print(f"report: {written[0]}" if written else "report: none, it could not be written")
    return 0 if written and _is_well(progress) else 1


def _is_well(progress: Progress) -> bool:
    """Whether it came to its end with every node where it was to be."""
    nodes = progress.nodes.values()
    return progress.outcome == "ended" and all(
        node.state == "released" and node.way == "out" for node in nodes
    )


def _status(options: argparse.Namespace, site: Site) -> int:
    from pipeline.cli.rollout_text import document, status_lines
    from pipeline.cluster.load import load_cluster
    from pipeline.errors import PipelineError
    from pipeline.rollout.differing import differing
    from pipeline.rollout.opening import refuse_gone

    kept = kept_of(options, site)
    how: dict[str, Any] = {"is_running": kept.is_running, "folder": kept.folder}
    try:
        if kept.is_unfinished:
            refuse_gone(kept, site)
        cluster = load_cluster(options.cluster, site)
        how["differences"] = differing(kept.progress, cluster.parameters, cluster.parameters_for)
    except PipelineError as error:  # somebody is editing it: what is known is told all the same
        print(f"pipeline: {error.problems[0]}", file=sys.stderr)
    if options.json:
        print_json(document(kept.order, kept.progress, **how))
    else:
        print("\n".join(status_lines(kept.order, kept.progress, **how)))
    return 0


def _refuse_empty(nodes: str | None) -> None:
    from pipeline.errors import UsageError

    if nodes is not None and not nodes.strip():
        raise UsageError("--nodes is empty: leave it out for all nodes")
