"""What was read for a plan, looked at again before it is written: somebody may have been there."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.cluster.differing import differences
from pipeline.cluster.objects import Properties
from pipeline.errors import PipelineError, Problem

HINT = "it was left as it is: a plan shows what would be done now"


def changed(where: str, old: Properties | None, new: Properties | None) -> list[Problem]:
    """A problem for each property that is no longer as it was; None: the object was or is not there."""
    return [
        Problem(f"somebody has changed it since the plan was made: {said}", where, HINT)
        for said in differences(old, new)
    ]


def refuse(problems: Iterable[Problem]) -> None:
    """Raise with these, each once; with none it does nothing."""
    found = tuple(dict.fromkeys(problems))
    if found:
        raise PipelineError(found)
