"""All packages of an image from one query of its own rpm."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.verify.messages import Ran

LIST_ALL = r"rpm -qa --qf '%{NAME}\t%{EPOCH}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n'"
NONE = "(none)"
CERTAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.+~-]*[A-Za-z0-9_+])?")
"""Labels that every rpm compares letter by letter.

Globs, epochs (``0:`` is that of a package without one) and a dot at the end are another matter.
"""


class Rpm(NamedTuple):
    """An installed package; ``epoch`` and ``arch`` are ``(none)`` where the package has none."""

    name: str
    epoch: str
    version: str
    release: str
    arch: str

    @property
    def nevra(self) -> str:
        """The whole label, ``name-[epoch:]version-release.arch``."""
        epoch = "" if self.epoch == NONE else f"{self.epoch}:"
        return f"{self.name}-{epoch}{self.version}-{self.release}.{self.arch}"


def parse(answer: Ran) -> tuple[Rpm, ...]:
    """What ``LIST_ALL`` printed. Raises ``RuntimeError`` when it failed, complained, or listed nothing."""
    errors = [line for line in answer.stderr.decode(errors="replace").splitlines() if "error:" in line]
    if answer.exit_code or errors:
        complaint = "; ".join(errors) or answer.stderr.decode(errors="replace").strip()
        raise RuntimeError(
            f"the image's rpm can't list its packages (exit code {answer.exit_code}): {complaint}"
        )
    lines = answer.stdout.decode(errors="replace").splitlines()
    if not lines:
        raise RuntimeError("the image's rpm lists no package at all: its database is missing or empty")
    return tuple(Rpm(*line.split("\t")) for line in lines)


def by_label(packages: Iterable[Rpm]) -> dict[str, tuple[Rpm, ...]]:
    """Each ``CERTAIN`` label of packages → those that answer to it, as rpm lists them."""
    found: defaultdict[str, list[Rpm]] = defaultdict(list)
    for package in packages:
        for label in _labels(package):
            found[label].append(package)
    return {label: tuple(answer) for label, answer in found.items()}


def _labels(package: Rpm) -> Iterator[str]:
    """NAME, NAME-VERSION and NAME-VERSION-RELEASE, each with and without the architecture."""
    name, _, version, release, arch = package
    plain = [name, f"{name}-{version}", f"{name}-{version}-{release}"]
    yield from plain
    if arch != NONE:
        yield from (f"{label}.{arch}" for label in plain)
