"""What can be done to an image: one module for each stage type; adding one touches nothing else."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from pipeline.stages.base import Stage

NOT_TYPES = frozenset({"__init__", "base"})


def names() -> tuple[str, ...]:
    """The stage types that there are, sorted."""
    here = Path(__file__).parent
    return tuple(sorted(path.stem for path in here.glob("*.py") if path.stem not in NOT_TYPES))


def stage_type(name: str) -> type[Stage]:
    """The class of the type ``name``. Raises ``KeyError`` when there is none."""
    if name not in names():
        raise KeyError(name)
    module = import_module(f"pipeline.stages.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Stage) and value.__module__ == module.__name__:
            return value
    raise KeyError(name)
