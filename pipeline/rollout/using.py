"""Versions that a rollout needs which is not at its end: nodes are installed from them or go back to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import PipelineError, Problem
from pipeline.rollout.folder import Kept, Lost, abort_command, cluster_of, number_of, unfinished


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
            return why, f"pipeline rollout status {cluster}"
    return None


def refuse_used(store: Path, image: str, numbers: Iterable[int]) -> None:
    """Raise ``PipelineError`` with each of these versions that a rollout needs which is not at its end."""
    rollouts = unfinished(store)
    problems = [
        Problem(why, f"{image}@{number}", "let it come to its end, or give it up (abort)", command)
        for number in numbers
        for why, command in filter(None, [why_used(rollouts, image, number)])
    ]
    if problems:
        raise PipelineError(problems)
