"""Names of packages: ``name-[epoch:]version-release.arch``, and what a recipe may ask for by."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

NO_VALUE = "(none)"
"""What rpm prints for a tag that a package does not have, such as the arch of ``gpg-pubkey``."""


class Nevra(msgspec.Struct, frozen=True, order=True):
    """One exact package. ``str()`` gives the form that locks hold; epoch 0 is left out, as rpm does."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str

    def __str__(self) -> str:
        epoch = f"{self.epoch}:" if self.epoch else ""
        arch = f".{self.arch}" if self.arch else ""
        return f"{self.name}-{epoch}{self.version}-{self.release}{arch}"

    @property
    def label(self) -> str:
        """The form without epoch, which every rpm since EL6's 4.8 takes on its command line."""
        arch = f".{self.arch}" if self.arch else ""
        return f"{self.name}-{self.version}-{self.release}{arch}"

    @property
    def name_arch(self) -> tuple[str, str]:
        """What is replaced by an upgrade: a package of the same name and arch."""
        return self.name, self.arch

    def forms(self) -> tuple[str, ...]:
        """Every way in which yum lets one ask for this package."""
        version = f"{self.name}-{self.version}"
        full = f"{version}-{self.release}"
        epoch = f"{self.name}-{self.epoch}:{self.version}"
        bare = (self.name, version, full, epoch, f"{epoch}-{self.release}")
        with_arch = (f"{self.name}.{self.arch}", f"{full}.{self.arch}", f"{epoch}-{self.release}.{self.arch}")
        return (*bare, *with_arch, f"{self.epoch}:{full}", f"{self.epoch}:{full}.{self.arch}")


def parse(text: str) -> Nevra:
    """The parts of an exact NEVRA as a lock holds it. Raises ``ValueError`` when ``text`` is none.

    ``gpg-pubkey-VERSION-RELEASE`` has no arch, the only such package that rpm knows.
    """
    name, version, tail = _split(text)
    if name == "gpg-pubkey":
        return Nevra(name, 0, version, tail, "")
    release, dot, arch = tail.rpartition(".")
    epoch, colon, plain = version.rpartition(":")
    if not (dot and release and arch and plain) or (colon and not epoch.isdecimal()):
        raise ValueError(f"{text!r} is no name-[epoch:]version-release.arch")
    return Nevra(name, int(epoch or 0), plain, release, arch)


def _split(text: str) -> tuple[str, str, str]:
    parts = text.rsplit("-", 2)
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"{text!r} is no name-[epoch:]version-release.arch")
    return parts[0], parts[1], parts[2]


def is_file(asked: str) -> bool:
    """Whether ``asked`` is an RPM by URL or path, and no name."""
    return asked.endswith(".rpm")


def is_pattern(asked: str) -> bool:
    """Whether ``asked`` stands for any number of packages."""
    return any(sign in asked for sign in "*?[")


def matches(asked: str, package: Nevra) -> bool:
    """Whether a name, glob or name-version of a recipe means ``package``."""
    if is_pattern(asked):
        return any(fnmatchcase(form, asked) for form in package.forms())
    return asked in package.forms()
