"""What a recipe and a site say, once loaded: plain data, every reference resolved, nothing read lazily."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from pipeline.stages.base import Stage

Scalar: TypeAlias = str | int | float | bool
Parameter: TypeAlias = Scalar | tuple[Scalar, ...]


class Place(msgspec.Struct, frozen=True):
    """Where in a file a stage stands; the line is looked up only when somebody asks.

    ``number`` counts the ``[[stage]]`` tables of that file from 1, and there are ``of``.
    """

    file: Path
    number: int
    of: int


class PlacedStage(msgspec.Struct, frozen=True):
    """A stage with its parameters put in, and where it was written (a recipe or a fragment).

    ``parameters`` are those that the templates in its overlay trees use, and no others.
    """

    stage: Stage
    place: Place
    parameters: Mapping[str, Parameter]


class Recipe(msgspec.Struct, frozen=True):
    """An image, as its ``recipe.toml`` and fragments describe it.

    ``base`` is the name of another recipe (``base_recipe``) or of a base of the site. ``tests`` are the
    ``test_*.py`` files beside the recipe, sorted. ``files`` are the recipe file and those of its fragments,
    ``digest`` the sha256 (64 hex digits) of the sha256 of what each of them said when it was loaded.
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
    digest: str

    @property
    def file(self) -> Path:
        """The recipe file."""
        return self.directory / "recipe.toml"

    @property
    def lock_file(self) -> Path:
        """The lock beside it."""
        return self.directory / "recipe.lock"


class Downloads(msgspec.Struct, frozen=True):
    """How patient downloads are. Seconds; ``attempts`` counts the first one too."""

    attempts: int = 5
    timeout: float = 30.0
    longest_wait: float = 20.0


class HeadSite(msgspec.Struct, frozen=True):
    """The cluster's head node: its ``manager`` (``bright`` or ``warewulf``), and how it is reached.

    ``address`` is what ssh takes; empty: this machine. ``programs`` are directories in which its programs
    are looked for first; ``root`` is where its files are seen when it is this machine. ``role`` is Bright's
    role whose file modifications are used, ``cloud`` a name of clouds.yaml.
    """

    manager: str = "bright"
    address: str = ""
    programs: tuple[str, ...] = ()
    root: str = "/"
    role: str = "openstacknode"
    cloud: str = ""
    ssh_options: tuple[str, ...] = ()


class Signing(msgspec.Struct, frozen=True):
    """Who has to sign versions: ``signers`` is a file as ssh-keygen(1) has it (ALLOWED SIGNERS), of whom
    ``required`` have to have signed; keys in the file ``revoked`` count for nothing."""

    signers: Path
    required: int = 1
    revoked: Path | None = None


class Site(msgspec.Struct, frozen=True):
    """Where things are: ``pipeline.toml``. All paths are absolute.

    ``project`` is the folder of the site file; ``recipes`` and ``overlays`` lie in it. ``bases`` maps a name
    to a directory tree. ``mirrors`` maps URL prefixes to what answers for them. ``lab`` is the lab's home
    when this site is the lab. ``head`` is the head node; None: nothing is said about one. ``signing`` says
    who has to sign versions; None: nobody.
    """

    file: Path
    project: Path
    store: Path
    images: Path
    bases: Mapping[str, Path] = msgspec.field(default_factory=dict)
    mirrors: Mapping[str, str] = msgspec.field(default_factory=dict)
    publish_mode: str = "overlay"
    downloads: Downloads = Downloads()
    lab: Path | None = None
    head: HeadSite | None = None
    signing: Signing | None = None

    @property
    def recipes(self) -> Path:
        return self.project / "recipes"

    @property
    def overlays(self) -> Path:
        return self.project / "overlays"
