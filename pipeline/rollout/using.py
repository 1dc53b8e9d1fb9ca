"""Versions that nodes are installed from or go back to, by a rollout that goes on or by what others left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import PipelineError, Problem
from pipeline.publish.record import directory
from pipeline.recipe.model import Site
from pipeline.rollout.commands import command
from pipeline.rollout.folder import Kept, Lost, abort_command, cluster_of, number_of, unfinished
from pipeline.rollout.having import Need, needs

BY_FORCE = "--force takes it away all the same: no node can be installed from it then, or taken back to it"


def why_used(rollouts: Sequence[Kept | Lost], image: str, number: int) -> tuple[str, str] | None:
    """Why ``image@number`` has to stay for one of ``rollouts``, and the command that tells more; None when it
    need not. One whose order can't be read may need any version."""
    for kept in rollouts:
        cluster, name = cluster_of(kept.folder), f"rollout {number_of(kept.folder)}"
        if kept.order is None:
            return f"{name} of {cluster} can't be read, and may need it", abort_command(kept.folder)
        targets = kept.order.targets.values()
        if any(target.image == image and target.version == number for target in targets):
            why = f"{name} of {cluster} is not at its end, and takes nodes to it or back to it"
            return why, command("status", cluster, number_of(kept.folder))
    return None


def why_had(needs: Iterable[Need], image: str, number: int, place: Path) -> tuple[str, str] | None:
    """The same for what clusters have or go back to, when its directory is ``place``."""
    need = next((need for need in needs if need.is_of(image, number, place)), None)
    return (
        None if need is None else (need.why, need.command or f"pipeline unpublish --force {image}@{number}")
    )


def refuse_used(site: Site, image: str, numbers: Iterable[int], *, force: bool = False) -> None:
    """Raise ``PipelineError`` with each of these versions that a rollout needs which is not at its end, or,
    without ``force``, that a cluster has or goes back to."""
    rollouts = unfinished(site.store)
    had = () if force else needs(site)
    problems = []
    for number in numbers:
        label = f"{image}@{number}"
        if used := why_used(rollouts, image, number):
            problems.append(Problem(used[0], label, "let it come to its end, or give it up (abort)", used[1]))
        elif used := why_had(had, image, number, directory(site, image, number)):
            problems.append(Problem(used[0], label, BY_FORCE, used[1]))
    if problems:
        raise PipelineError(problems)
