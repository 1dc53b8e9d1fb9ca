"""Whether versions are signed as the site asks, before nodes go to them. A way back is never stopped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pipeline.errors import PipelineError, Problem
from pipeline.recipe.model import Site
from pipeline.rollout.commands import Verb, command_of
from pipeline.rollout.folder import Kept
from pipeline.rollout.model import Finding, Order
from pipeline.rollout.states import State
from pipeline.signing.signers import lacking, wrong_lines
from pipeline.store.records import Version
from pipeline.store.store import Store

TO_GO: tuple[State, ...] = ("waiting", "preparing", "prepared", "switched")
"""Nodes in these states have not been rebooted yet."""


def unsigned(
    site: Site,
    store: Store,
    versions: Iterable[Version],
    severity: Literal["error", "warning"] = "error",
) -> list[Finding]:
    """What ``versions`` lack that the site asks for; if so, lines of the signers that are wrong as well."""
    found = [_finding(severity, each) for version in versions for each in lacking(site, store, version)]
    if found:
        found += [_finding("warning", each) for each in wrong_lines(site)]
    return found


def _finding(severity: Literal["error", "warning"], problem: Problem) -> Finding:
    return Finding(severity, problem.message, problem.where or "", problem.hint or "", problem.command or "")


def targeted(order: Order, store: Store) -> tuple[Version, ...]:
    """The versions of this store to which ``order`` takes nodes."""
    targets = (order.targets.get(name) for name in dict.fromkeys(order.wanted.values()))
    found = (
        store.versions.get(target.image, target.version) for target in targets if target and target.version
    )
    return tuple(version for version in found if version is not None)


def withheld(site: Site, store: Store, kept: Kept, *, retry: bool = False) -> tuple[Problem, ...]:
    """Why ``kept`` takes no more nodes to its version, which is not signed by now; nothing when it may.

    Somebody may have taken a signer away since it was begun. Nodes on their way come to their end all the
    same, and those that failed are taken back: so it has to go on. Raises ``PipelineError`` when there are no
    such nodes, or with ``retry``: those that failed would have their turn once more.
    """
    order, progress = kept.order, kept.progress
    goes_back = progress.has_turned or (progress.is_going_back and not retry)
    to_go = progress.named(*TO_GO, *(("failed",) if retry else ()))
    if site.signing is None or order.back_of is not None or goes_back or not to_go:
        return ()
    problems = tuple(each for version in targeted(order, store) for each in lacking(site, store, version))
    if not problems:
        return ()
    begun = len(progress.named("waiting", "released")) < len(progress.nodes)
    found = (*problems, _does_not_go_on(kept, without_retry=retry and begun))
    if retry or not begun:
        raise PipelineError(found)
    return found


def _does_not_go_on(kept: Kept, *, without_retry: bool) -> Problem:
    order = kept.order
    which = f"rollout {order.number} of {order.cluster}"
    hint = "resume it when the version is signed; or take back the nodes that have it"
    verb: Verb = "rollback"
    if without_retry:
        hint = "without --retry nodes on their way come to their end, and those that failed are taken back"
        verb = "resume"
    return Problem(
        f"{which} does not go on: its version is not signed by now",
        str(kept.folder),
        f"{hint}, as its policy says" if without_retry else hint,
        command_of(verb, order),
    )
