"""What a recipe and a site say, once loaded: plain data, every reference resolved, nothing read lazily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from pipeline.stages.base import Stage

Scalar: TypeAlias = str | int | float | bool
Parameter: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Place:
    """Where in a file a stage stands; the line is looked up only when somebody asks.

    ``number`` counts the ``[[stage]]`` tables of that file from 1.
    """

    file: Path
    number: int


@dataclass(frozen=True)
class PlacedStage:
    """A stage with its parameters put in, and where it was written (a recipe or a fragment).

    ``parameters`` are those that the templates in its overlay trees use, and no others.
    """

    stage: Stage
    place: Place
    parameters: Mapping[str, Parameter]


@dataclass(frozen=True)
class Recipe:
    """An image, as its ``recipe.toml`` and fragments describe it.

    ``base`` is the name of another recipe (``base_recipe``) or of a base of the site. ``tests`` are the
    ``test_*.py`` files beside the recipe, sorted. ``files`` are the recipe file and those of its fragments.
    """

    name: str
    base: str
    summary: str
    directory: Path
    kernel_parameters: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    stages: tuple[PlacedStage, ...]
    tests: tuple[Path, ...]
    files: tuple[Path, ...]
    base_recipe: bool

    @property
    def file(self) -> Path:
        """The recipe file."""
        return self.directory / "recipe.toml"

    @property
    def lock_file(self) -> Path:
        """The lock beside it."""
        return self.directory / "recipe.lock"


@dataclass(frozen=True)
class Downloads:
    """How patient downloads are. Seconds; ``attempts`` counts the first one too."""

    attempts: int = 5
    timeout: float = 30.0
    longest_wait: float = 20.0


@dataclass(frozen=True)
class Site:
    """Where things are: ``pipeline.toml``. All paths are absolute.

    ``project`` is the folder of the site file; ``recipes`` and ``overlays`` lie in it. ``bases`` maps a name
    to a directory tree. ``mirrors`` maps URL prefixes to what answers for them. ``lab`` is the lab's home
    when this site is the lab.
    """

    file: Path
    project: Path
    store: Path
    images: Path
    bases: Mapping[str, Path] = field(default_factory=dict)
    mirrors: Mapping[str, str] = field(default_factory=dict)
    publish_mode: str = "overlay"
    downloads: Downloads = Downloads()
    lab: Path | None = None

    @property
    def recipes(self) -> Path:
        return self.project / "recipes"

    @property
    def overlays(self) -> Path:
        return self.project / "overlays"
