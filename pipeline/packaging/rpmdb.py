"""What is installed in an image, as its own rpm says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.chroot.root import CommandError, Root
from pipeline.errors import Problem, UnreadableError
from pipeline.packaging.nevra import NO_VALUE, Nevra
from pipeline.packaging.programs import first_found

FORMAT = r"%{NAME}\t%{EPOCH}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n"
"""EPOCH and not EPOCHNUM or NEVRA, which EL6's rpm 4.8 answers otherwise or not at all."""

LEAD = b"\xed\xab\xee\xdb"
"""The first bytes of every RPM."""


def packages(root: Root) -> tuple[Nevra, ...]:
    """Every package that is installed, sorted; nothing when the image has no rpm. One query, about 10 ms.

    Raises ``CommandError`` when its database cannot be read.
    """
    if root.call(first_found, "rpm") is None:
        return ()
    return tuple(sorted(parsed(root.run(["rpm", "-qa", "--qf", FORMAT], separate=True).text)))


def installed(root: Root) -> tuple[str, ...]:
    """The NEVRA of every package that is installed, sorted; nothing when the image has no rpm."""
    return tuple(sorted(map(str, packages(root))))


def of_files(root: Root, paths: Sequence[str], called: Mapping[str, str] | None = None) -> dict[str, Nevra]:
    """Path → package of RPM files of the chroot. Raises ``UnreadableError`` for one that is none.

    ``called`` are the names that errors give to paths; one of these that is only a part of an RPM is named
    as well.
    """
    if not paths:
        return {}
    refuse_others(root, paths, called or {})
    try:
        text = root.run(["rpm", "-qp", "--nosignature", "--qf", FORMAT, *paths], separate=True).text
    except CommandError:
        if found := damaged(root, called or {}):
            raise UnreadableError(found) from None
        raise
    return dict(zip(paths, parsed(text), strict=True))


def damaged(root: Root, called: Mapping[str, str]) -> tuple[Problem, ...]:
    """A problem for each of the RPMs ``called`` (path → name) that is not what its own digests say.

    All of them are read to the end: for when something has failed, to tell why.
    """
    found = []
    for path, name in called.items():
        checked = root.run(["rpm", "-K", "--nosignature", path], exit_codes=())
        if checked.exit_code != 0:
            words = " ".join(checked.text.replace(f"{path}:", " ").replace("error:", " ").split())
            said = f": {words}" if words else ""
            found.append(Problem(f"is damaged, or not all of it is there{said}", where=name))
    return tuple(found)


def refuse_others(root: Root, paths: Sequence[str], called: Mapping[str, str]) -> None:
    """Raise ``UnreadableError`` for files that are no RPM: rpm would read them as lists of RPMs."""
    others = root.call(not_rpms, tuple(paths))
    if others:
        raise UnreadableError(Problem("is no RPM", where=called.get(path, path)) for path in others)


def not_rpms(paths: Sequence[str]) -> tuple[str, ...]:
    """Those that do not begin as an RPM does. Meant for the inside of a chroot."""
    found = []
    for path in paths:
        with open(path, "rb") as file:
            if file.read(len(LEAD)) != LEAD:
                found.append(path)
    return tuple(found)


def parsed(text: str) -> list[Nevra]:
    """The packages in the output of a query in ``FORMAT``, in its order."""
    return [_package(*line.split("\t")) for line in text.splitlines()]


def _package(name: str, epoch: str, version: str, release: str, arch: str) -> Nevra:
    return Nevra(
        name, 0 if epoch == NO_VALUE else int(epoch), version, release, "" if arch == NO_VALUE else arch
    )
