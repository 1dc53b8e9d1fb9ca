"""Installing exactly what a lock says, with the image's own rpm and nothing else."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from pipeline.chroot.root import ENOUGH_FOR_ERRORS, CommandError, Root, shortened
from pipeline.errors import PipelineError, Problem
from pipeline.packaging import rpmdb
from pipeline.packaging.nevra import Nevra, parse
from pipeline.stages.base import LockedPackage, PackageAnswer

SCRIPTLET_FAILED = re.compile(
    r"(?:warning|error): %?(?P<which>\w+)\((?P<package>[^)]+)\) scriptlet failed, (?P<how>.+)"
)
"""rpm 4.8 to 4.19. After a failed %post rpm goes on, and exits 0."""

LUA_FAILED = re.compile(r"(?:warning|error): lua script failed: .+")

UPGRADE = ("rpm", "-Uv", "--oldpackage", "--replacepkgs")
"""``--oldpackage``: a lock may go back; ``--replacepkgs``: what an earlier stage put there is no error."""

BESIDE = ("rpm", "-iv", "--replacepkgs")
ERASE = ("rpm", "-ev")


class Steps(msgspec.Struct, frozen=True):
    """One answer of a package manager, in the order in which rpm can follow it.

    ``erase_first`` has nothing to do with what comes; ``upgrade`` replaces older packages of its name and
    what it obsoletes; ``beside`` stays side by side with others of its name (kernels); ``erase_after`` is
    what an upgrade was meant to replace, if it is still there.
    """

    erase_first: tuple[Nevra, ...]
    upgrade: tuple[LockedPackage, ...]
    beside: tuple[LockedPackage, ...]
    erase_after: tuple[Nevra, ...]


def steps(answer: PackageAnswer, present: Sequence[Nevra], obsoleted: frozenset[str]) -> Steps:
    """Order ``answer`` for an image that holds ``present``; ``obsoleted`` are names its files obsolete.

    A package goes beside another of its name and arch when the package manager left that one installed.
    """
    gone = {parse(nevra) for nevra in answer.remove}
    stays: dict[tuple[str, str], set[Nevra]] = {}
    for package in present:
        if package not in gone:
            stays.setdefault(package.name_arch, set()).add(package)
    upgrade: list[LockedPackage] = []
    beside: list[LockedPackage] = []
    names = set[str]()
    for locked in answer.install:
        nevra = parse(locked.nevra)
        names.add(nevra.name)
        others = stays.get(nevra.name_arch, set()) - {nevra}
        (beside if others else upgrade).append(locked)
    there = sorted(gone & set(present))
    replaced = names | obsoleted
    return Steps(
        erase_first=tuple(package for package in there if package.name not in replaced),
        upgrade=tuple(upgrade),
        beside=tuple(beside),
        erase_after=tuple(package for package in there if package.name in replaced),
    )


def carry_out(
    root: Root, answer: PackageAnswer, files: Mapping[str, str], present: Sequence[str] | None
) -> tuple[str, ...] | None:
    """Bring the image to ``answer``; ``files`` maps a location to the RPM that the chroot sees.

    ``present`` are the NEVRA of what is installed before, None when nobody has looked. Returns those
    afterwards; None when there was nothing to do. rpm checks dependencies, conflicts and free space by
    itself, and its words are in the ``PipelineError``.
    """
    if not answer.install and not answer.remove:
        return None
    paths = _paths(answer.install, files)
    before = tuple(map(parse, present)) if present is not None else rpmdb.packages(root)
    _check_there(answer, before)
    plan = steps(answer, before, _obsoleted(root, paths))
    if plan.erase_first:
        _rpm(root, (*ERASE, *(package.label for package in plan.erase_first)))
    _install(root, plan, paths)
    now = rpmdb.packages(root)
    left = sorted(set(plan.erase_after) & set(now))
    if left:
        _rpm(root, (*ERASE, *(package.label for package in left)))
        now = rpmdb.packages(root)
    installed = tuple(sorted(map(str, now)))
    _compare(answer, installed)
    return installed


def _check_there(answer: PackageAnswer, before: Sequence[Nevra]) -> None:
    """Raise ``PipelineError`` for what is locked to be removed and is not there: a lock of another image."""
    there = set(before)
    gone = [nevra for nevra in answer.remove if parse(nevra) not in there]
    if gone:
        raise PipelineError(
            Problem(f"{nevra} is locked to be removed, and is not installed", hint="lock again")
            for nevra in gone
        )


def _install(root: Root, plan: Steps, paths: Mapping[str, str]) -> None:
    """One transaction, or two when something goes beside another: rpm cannot mix the two kinds."""
    upgrade = (*UPGRADE, *(paths[locked.location] for locked in plan.upgrade))
    beside = (*BESIDE, *(paths[locked.location] for locked in plan.beside))
    if not (plan.upgrade and plan.beside):
        for argv in (*([upgrade] if plan.upgrade else []), *([beside] if plan.beside else [])):
            _rpm(root, argv)
    elif _can_do(root, upgrade):
        _rpm(root, upgrade)
        _rpm(root, beside)
    elif _can_do(root, beside):
        _rpm(root, beside)
        _rpm(root, upgrade)
    else:
        # Each needs the other: a kernel its new firmware package, a module package the new kernel. What rpm
        # would have checked is checked afterwards instead.
        _rpm(root, (*upgrade, "--nodeps"))
        _rpm(root, beside)
        labels = (parse(locked.nevra).label for locked in plan.upgrade)
        root.run(["rpm", "-V", "--nofiles", "--noscripts", *labels])


def _paths(packages: Sequence[LockedPackage], files: Mapping[str, str]) -> dict[str, str]:
    missing = [package for package in packages if package.location not in files]
    if missing:
        raise PipelineError(
            Problem(f"{package.nevra} is locked to {package.location}, which was not fetched")
            for package in missing
        )
    return {package.location: files[package.location] for package in packages}


def _obsoleted(root: Root, paths: Mapping[str, str]) -> frozenset[str]:
    if not paths:
        return frozenset()
    files = tuple(paths.values())
    rpmdb.refuse_others(root, files, {path: location for location, path in paths.items()})
    query = ["rpm", "-qp", "--nosignature", "--qf", r"[%{OBSOLETENAME}\n]", *files]
    return frozenset(root.run(query, separate=True).text.split())


def _can_do(root: Root, argv: Sequence[str]) -> bool:
    return root.run([*argv, "--test"], exit_codes=()).exit_code == 0


def _rpm(root: Root, argv: Sequence[str]) -> None:
    """Run rpm; its words are judged as they come, for scriptlets may print without end."""
    said = Said()
    try:
        root.run(argv, most=ENOUGH_FOR_ERRORS, on_lines=said.hear)
    except CommandError as error:
        raise PipelineError([*error.problems, *said.broken]) from error
    if said.broken:
        raise PipelineError(said.broken)
    for line in said.noteworthy:
        root.note(line)


class Said:
    """What rpm said: ``broken`` are scriptlets that failed, with what it and they printed just before;
    ``noteworthy`` its warnings, each once; not those about signatures, because the lock's digest pins the
    file."""

    def __init__(self) -> None:
        self.broken: list[Problem] = []
        self.noteworthy: dict[str, None] = {}
        self._last = deque[str](maxlen=11)

    def hear(self, lines: Sequence[str]) -> None:
        """Take in the next lines."""
        for line in lines:
            self._last.append(shortened(line))
            if line.startswith("warning: ") and not line.rstrip().endswith(": NOKEY"):
                self.noteworthy[line.strip()] = None
            if "failed" not in line:
                continue
            if found := SCRIPTLET_FAILED.search(line):
                which, package = found["which"], found["package"]
                before = "".join(f"\n  | {text}" for text in self._last)
                self.broken.append(
                    Problem(
                        f"the {which} scriptlet of {package} failed: {found['how']}{before}",
                        hint=f"in the stage's shell, see what it does: rpm -q --scripts {package}",
                    )
                )
            elif LUA_FAILED.search(line):
                self.broken.append(Problem(line.strip()))


def _compare(answer: PackageAnswer, now: Sequence[str]) -> None:
    present = set(now)
    missing = [package.nevra for package in answer.install if package.nevra not in present]
    left = [nevra for nevra in answer.remove if nevra in present]
    if missing or left:
        raise PipelineError(
            [Problem(f"{nevra} is not installed, though rpm reported no error") for nevra in missing]
            + [Problem(f"{nevra} is still installed, though rpm reported no error") for nevra in left]
        )
