"""What every stage type is: typed options, what it needs from outside, and what it does to the image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.chroot.root import Root


class SourceRequest(msgspec.Struct, frozen=True):
    """A file from outside: a URL (http, https, ftp) or a path below the project. Always locked by digest.

    ``sha256`` is what the recipe itself demands, 64 lower-case hex digits.
    """

    location: str
    sha256: str | None = None


class PackageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the image's package manager is asked for; the lock holds its answer."""

    install: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    upgrade: tuple[str, ...] = ()


class LockedPackage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One RPM that a stage installs. ``location`` is its URL, or its path below the project."""

    nevra: str
    location: str
    size: int
    sha256: str


class PackageAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request comes to: exact packages to install, exact NEVRAs to remove."""

    install: tuple[LockedPackage, ...] = ()
    remove: tuple[str, ...] = ()


class Tree(msgspec.Struct, frozen=True):
    """A directory of the project: ``host`` for those outside, ``inside`` where the chroot sees it."""

    host: Path
    inside: str


class Inputs(msgspec.Struct, frozen=True):
    """All that a stage is given when it runs, beside its own options.

    ``sources`` maps a location to the path at which the chroot sees the file; ``installed`` are the NEVRA of
    the packages that are there before, None when nobody has looked.
    """

    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    sources: Mapping[str, str] = msgspec.field(default_factory=dict)
    trees: Mapping[str, Tree] = msgspec.field(default_factory=dict)
    packages: PackageAnswer | None = None
    installed: tuple[str, ...] | None = None


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A mutation of an image. The docstring of each subclass is its manual.

    A type is one module of this package, ``pipeline.stages.NAME``, that holds one subclass with ``tag=NAME``.
    """

    name: str

    def check(self) -> tuple[tuple[str, str], ...]:
        """What is wrong beyond types, as (option, message), without looking at anything but the options."""
        return ()

    def sources(self) -> tuple[SourceRequest, ...]:
        """The files from outside that it needs."""
        return ()

    def trees(self) -> tuple[str, ...]:
        """The directories below ``overlays/`` that it needs."""
        return ()

    def lays_at(self) -> str:
        """The directory of the image in which those are laid."""
        return "/"

    def packages(self) -> PackageRequest | None:
        """What has to be resolved by the image's package manager, when locking."""
        return None

    def wants_network(self) -> bool:
        """Whether programs of this stage may reach the network. What they bring is then not pinned."""
        return False

    def changes_packages(self) -> bool:
        """Whether it may change which packages the image has, so that they have to be listed before it."""
        return True

    def changes_repositories(self) -> bool:
        """Whether it is meant to change where the image's package manager finds packages."""
        return False

    def kernel_parameters(self) -> tuple[str, ...]:
        """Kernel parameters that the version records, in addition to the recipe's."""
        return ()

    def prepare(self) -> None:
        """Import what ``run`` will have called inside the chroot, where nothing can be imported."""

    def run(self, root: Root, inputs: Inputs) -> tuple[str, ...] | None:
        """Do it. Raises ``PipelineError`` with what failed; whatever was done before is then thrown away.

        Returns the NEVRA of the packages that are there now, where it has just looked.
        """
        raise NotImplementedError
