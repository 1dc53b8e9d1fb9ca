"""Where the cluster file says what an error is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.cluster.model import Cluster
from pipeline.errors import PipelineError, Problem, retold
from pipeline.recipe.findings import positions
from pipeline.recipe.lines import KeyPath


@contextmanager
def at_lines(cluster: Cluster) -> Iterator[None]:
    """Errors from here have their lines."""
    try:
        yield
    except PipelineError as error:
        raise placed(cluster, error) from None


def placed(cluster: Cluster, error: PipelineError) -> PipelineError:
    """``error`` with the lines of the cluster file at the objects that it names; others stay as they are.

    A problem that begins with the name of a property (``image: …``) gets the line of that property.
    """
    wanted = {str(item.ref): item for item in cluster.wanted}
    asked: list[KeyPath] = []
    for problem in error.problems:
        item = wanted.get(problem.where or "")
        asked.append(item.place(problem.message.partition(":")[0]) if item else ())
    lines = positions(cluster.file, asked)
    told = [
        Problem(f"{problem.where}: {problem.message}", line, problem.hint, problem.command) if at else problem
        for problem, at, line in zip(error.problems, asked, lines, strict=True)
    ]
    return retold(error, told)
