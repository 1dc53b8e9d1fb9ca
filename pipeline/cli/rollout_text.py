"""A rollout as people and programs read it: its status, the document of ``--json``, the plan of a dry run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.cluster.nodesets import folded
from pipeline.printable import on_one_line, plain
from pipeline.rollout.batches import canaries
from pipeline.rollout.differing import Difference, to_write
from pipeline.rollout.logs import telling_line
from pipeline.rollout.model import Finding, Node, Order
from pipeline.rollout.spans import moment, span, zone
from pipeline.rollout.states import NodeProgress, Progress
from pipeline.rollout.summary import Failure, Said, Summary, Tail, installed, shown, summarize, version

NODE = "NODE"
"""Stands for a node's name where the same is done with several."""

WORD, DOTTED = re.compile(r"[\w-]+"), re.compile(r"[\w.-]+")


def tail_in(folder: Path | None) -> Tail:
    """Reads the line that says what failed of logs that lie in ``folder`` or have absolute paths."""
    return partial(_tail, folder)


def status_lines(
    order: Order,
    progress: Progress,
    *,
    now: float | None = None,
    is_running: bool = True,
    folder: Path | None = None,
    differences: Sequence[Difference] = (),
) -> Iterable[str]:
    """All about a rollout in plain text; ``folder`` is where relative names of logs begin."""
    at = time.time() if now is None else now
    summary = summarize(order, progress, at, is_running=is_running, tail=tail_in(folder))
    yield from map(on_one_line, _status(order, progress, summary, differences, at))


def document(
    order: Order,
    progress: Progress,
    *,
    now: float | None = None,
    is_running: bool = True,
    folder: Path | None = None,
    differences: Sequence[Difference] = (),
    **more: Any,
) -> dict[str, Any]:
    """The JSON document of every rollout verb; times are seconds since 1970, None for what is not (yet)."""
    at = time.time() if now is None else now
    summary = summarize(order, progress, at, is_running=is_running, tail=tail_in(folder))
    batch_of = {name: number for number, names in enumerate(order.batches, start=1) for name in names}
    return {
        "cluster": order.cluster,
        "rollout": order.number,
        "back_of": order.back_of,
        "who": order.who,
        "ordered_at": order.when,
        "began_at": progress.began or None,
        "ended_at": progress.ended or None,
        "outcome": summary.how,
        "why": progress.why,
        "is_aborting": progress.is_aborting,
        "is_going_back": progress.is_going_back,
        "seconds": round(summary.seconds, 3),
        "seconds_left": None if summary.seconds_left is None else round(summary.seconds_left),
        "batch": {"number": progress.batch or None, "of": len(order.batches)},
        "batches": order.batches,
        "counts": summary.counts,
        "failed": [_failure(each) for each in summary.failed],
        "taken_back": [_failure(each) for each in summary.taken_back],
        "waits": [{"why": each.text, "nodes": each.nodes} for each in summary.waits],
        "notes": [
            *({"note": text, "nodes": ()} for text in progress.notes),
            *({"note": each.text, "nodes": each.nodes} for each in summary.notes),
        ],
        "differences": [_difference(each) for each in differences],
        "to_write": to_write(differences),
        "categories": {
            name: {"image": image, "switched": name in progress.switched}
            for name, image in order.categories.items()
        },
        "nodes": [
            _node(order, node, progress.nodes[node.name], batch_of.get(node.name), at) for node in order.nodes
        ],
        "next": [{"command": each.command, "what": each.what} for each in summary.following],
        **more,
    }


def plan_lines(
    order: Order, steps_by_node: Mapping[str, Sequence[str]], findings: Sequence[Finding]
) -> Iterable[str]:
    """What a rollout would do, as ``--dry-run`` prints it: findings, batches in their order, each step."""
    plan = (*_plan(order), *_steps(order, steps_by_node)) if order.nodes else ()
    for line in (*_findings(findings), *plan):
        yield on_one_line(line)


def finding_lines(findings: Sequence[Finding]) -> Iterable[str]:
    """What is known before anything is touched, errors first."""
    yield from map(on_one_line, _findings(findings))


def headline(order: Order) -> str:
    """Which rollout, and to what."""
    number = f" {order.number}" if order.number else ""
    back = f", which takes rollout {order.back_of} back" if order.back_of is not None else ""
    return f"{order.cluster}: rollout{number} to {', '.join(_wanted(order))}{back}"


def standing(progress: Progress, summary: Summary) -> str:
    """How far it is, in one line."""
    of = f"batch {summary.batch} of {summary.batches}" if summary.batch else "no batch has begun"
    going = ""
    if progress.is_going_back:
        going = f", nodes {'were' if summary.how == 'ended' else 'are'} taken back"
    aborting = ", nothing new is begun (abort)" if progress.is_aborting and summary.how == "running" else ""
    why = f": {progress.why}" if progress.why else ""
    took = f", {span(summary.seconds)}" if summary.seconds else ""
    return f"{summary.how}{going}{aborting}{why}; {of}{took}{left(summary)}"


def left(summary: Summary) -> str:
    """How long it will go on, as far as that can be known."""
    if summary.how != "running":
        return ""
    if summary.seconds_left is None:
        return ", time left unknown until a node is through"
    if round(summary.seconds_left) == 0:
        return ", longer than nodes have taken until now"
    return f", about {span(summary.seconds_left)} left"


def _tail(folder: Path | None, log: str) -> str:
    return telling_line(log, folder)


def _wanted(order: Order) -> list[str]:
    """The versions that nodes are taken to, in the order of the nodes."""
    return list(dict.fromkeys(version(order, order.wanted[node.name]) for node in order.nodes))


def _status(
    order: Order, progress: Progress, summary: Summary, differences: Sequence[Difference], now: float
) -> Iterable[str]:
    yield headline(order)
    if progress.began:
        yield f"  begun {moment(progress.began)} {zone(progress.began)} by {order.who}"
    yield standing(progress, summary)
    yield from _states(progress, summary, now)
    yield from _failures("failed:", summary.failed)
    yield from _failures("failed and taken back:", summary.taken_back)
    yield from _said("waits:", summary.waits)
    yield from _said("notes:", (*(Said(text, ()) for text in progress.notes), *summary.notes))
    if order.categories:
        yield from _categories(order, progress)
    yield from _differences(differences)
    if summary.following:
        yield "next:"
    for each in summary.following:
        yield f"  {each.command}  # {each.what}"


def _states(progress: Progress, summary: Summary, now: float) -> Iterable[str]:
    """A line for each state, and the seconds of the node that is in it for the longest time."""
    wide = max((len(shown(*at)) for at in summary.by_state), default=0)
    count_wide = max((len(f"{len(names):,}") for names in summary.by_state.values()), default=0)
    for (state, way), names in summary.by_state.items():
        since = min(progress.nodes[name].since for name in names)
        moves = summary.how == "running" and state not in ("waiting", "released", "failed")
        age = f"  for {span(now - since)}" if moves and since else ""
        count = f"{len(names):,}".rjust(count_wide)
        yield f"  {shown(state, way).ljust(wide)}  {count}  {folded(names)}{age}"


def _failures(head: str, failures: Sequence[Failure]) -> Iterable[str]:
    if failures:
        yield head
    for each in failures:
        yield f"  {each.node}: {each}"
        if each.log:
            yield f"    log: {each.log}"
        if each.line:
            yield f"    | {each.line}"


def _said(head: str, said: Sequence[Said]) -> Iterable[str]:
    if said:
        yield head
    for each in said:
        yield f"  {folded(each.nodes)}: {each.text}" if each.nodes else f"  {each.text}"


def _categories(order: Order, progress: Progress) -> Iterable[str]:
    yield "categories:"
    for name, image in order.categories.items():
        if name in progress.switched:
            how = "has"
        elif name in progress.switching:
            how = "is just given, or has already,"
        elif progress.outcome == "ended" or progress.is_going_back:
            how = "keeps its image, and does not get"
        else:
            how = "gets, when all its nodes are released,"
        yield f"  {name} {how} {image}"


def _differences(differences: Sequence[Difference]) -> Iterable[str]:
    if differences:
        yield "otherwise than in the cluster file:"
    for each in differences:
        yield f"  {each}"
    lines = to_write(differences)
    if lines:
        yield "if that is right, write into the cluster file and apply it:"
    yield from (f"  {line}" for line in lines)


def _failure(each: Failure) -> dict[str, Any]:
    return {
        "node": each.node,
        "way": each.way,
        "failed_in": each.failed_in,
        "why": each.why,
        "failed_checks": each.checks,
        "log": each.log or None,
        "last_line": each.line or None,
    }


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "parameter": each.parameter,
        "found": each.value,
        "wanted": each.wanted,
        "nodes": each.nodes,
    }


def _node(order: Order, node: Node, progress: NodeProgress, batch: int | None, now: float) -> dict[str, Any]:
    image = installed(node, progress)
    target = order.back_to(node.image) if progress.way == "back" else order.wanted[node.name]
    return {
        "name": node.name,
        "category": node.category,
        "batch": batch,
        "state": progress.state,
        "way": progress.way,
        "since": progress.since or None,
        "seconds": round(max(0.0, now - progress.since), 3) if progress.since else None,
        "began_at": progress.began or None,
        "why": progress.why,
        "failed_in": progress.failed_in,
        "failed_checks": progress.failed_checks,
        "passed": progress.passed,
        "image": image or None,
        "version": version(order, image) or None,
        "wanted_image": target,
        "wanted_version": version(order, target),
        "facts": progress.facts,
        "notes": progress.notes,
        "times": progress.times,
        "log": progress.log or None,
    }


def _findings(findings: Sequence[Finding]) -> Iterable[str]:
    for each in sorted(findings, key=lambda finding: finding.severity):  # errors come first
        where = f"{each.where}: " if each.where else ""
        first, *rest = plain(each.what).split("\n")
        yield f"{each.severity}: {where}{first}"
        yield from (f"  {line}" for line in rest)
        if each.hint:
            yield f"  hint: {each.hint}"
        if each.command:
            yield f"  run: {each.command}"


def _plan(order: Order) -> Iterable[str]:
    yield headline(order)
    policy = order.policy
    limits = [f"at most {policy.max_unavailable:,} away at once"]
    limits += [f"{most:,} of each {label}" for label, most in policy.domains.items()]
    yield f"  {', '.join(limits)}; {policy.install} install; {_budget(order)}"
    if order.unavailable:
        yield f"  down already, and counted: {folded(node.name for node in order.unavailable)}"
    first = canaries(order.nodes, policy.canary)
    for number, names in enumerate(order.batches, start=1):
        canary = " (canary)" if first.issuperset(names) else ""
        yield f"batch {number} of {len(order.batches)}{canary}: {folded(names)}"
    for name, image in order.categories.items():
        yield f"then category {name}: {image}"


def _budget(order: Order) -> str:
    budget = order.policy.failure_budget
    ends = {
        "stop": "it stops",
        "roll back failed": "it stops and failed nodes are taken back",
        "roll back all": "it stops and all nodes are taken back",
    }
    when = f"more than {budget:,} {'fails' if budget == 1 else 'fail'}" if budget else "one fails"
    return f"when {when}, {ends[order.policy.on_failure]}"


def _steps(order: Order, steps_by_node: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """What is run for each node; nodes for which it is the same but for their names are told once."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for names in order.batches:
        for name in names:
            alike.setdefault(_nameless(name, steps_by_node.get(name, ())), []).append(name)
    for steps, same in alike.items():
        one = len(same) == 1
        if steps:
            yield f"for {same[0]}:" if one else f"for each NODE of {folded(same)}:"
        for step in steps_by_node[same[0]] if one and steps else steps:
            yield f"  {step}"


def _nameless(name: str, steps: Sequence[str]) -> tuple[str, ...]:
    """``steps`` with ``NODE`` for the name, where it stands as a word."""
    word = DOTTED if "." in name else WORD
    return tuple(word.sub(lambda found: NODE if found[0] == name else found[0], step) for step in steps)
