"""What a request for packages comes to: the image's own package manager does it, in a throwaway root."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence

import msgspec

from pipeline.chroot.root import OUT, Root
from pipeline.errors import PipelineError, Problem, UnreadableError
from pipeline.packaging import repofile, rpmdb, yum
from pipeline.packaging.nevra import Nevra, is_file, is_pattern, matches
from pipeline.stages.base import PackageRequest

LINKS = "/run/pipeline/rpms"

DNF_FOLDER = re.compile(r"^(?P<repository>.+)-[0-9a-f]{16}$")
"""dnf's folder of a repository's cache: its id and a part of a digest of its URLs."""


class ResolvedPackage(msgspec.Struct, frozen=True):
    """A package to be installed and its RPM.

    ``file`` is the RPM's path relative to the directory that was mounted at ``OUT``; None when it was asked
    for by URL or path, and then ``location`` is that. ``base_urls`` are those of the repositories that it may
    be from, as the image's repository files name them (mirrors undone). ``lists`` is the directory, relative
    as well, where the package manager keeps what it read of the only one of them.
    """

    nevra: str
    file: str | None = None
    location: str | None = None
    base_urls: tuple[str, ...] = ()
    lists: str | None = None


class Resolution(msgspec.Struct, frozen=True):
    """What a request comes to, sorted by NEVRA. ``remove`` holds what upgrades replace as well."""

    install: tuple[ResolvedPackage, ...] = ()
    remove: tuple[str, ...] = ()


class _Asked(msgspec.Struct, frozen=True):
    """A request with the RPM files in it told apart: location → path in the chroot, path → package."""

    request: PackageRequest
    paths: Mapping[str, str]
    packages: Mapping[str, Nevra] = msgspec.field(default_factory=dict)

    def word(self, asked: str) -> str:
        """What stands for ``asked`` on the package manager's command line."""
        return self.paths[asked] if is_file(asked) else asked

    def matches(self, asked: str, package: Nevra) -> bool:
        if is_file(asked):
            return self.packages[self.paths[asked]] == package
        return matches(asked, package)


def resolve(
    root: Root,
    request: PackageRequest,
    *,
    files: Mapping[str, str] | None = None,
    mirrors: Mapping[str, str] | None = None,
) -> Resolution:
    """Do ``request`` in ``root``, which is thrown away afterwards, and say what it came to.

    ``root`` needs network and a directory at ``OUT``. ``files`` maps each URL and path of the request to the
    RPM that the chroot sees; ``mirrors`` maps a prefix of URLs to what stands for it in the repository files
    of this root. Raises ``PipelineError`` with the package manager's words when something does not exist,
    conflicts, is not signed as its repository demands, or is silently left out; ``UnreadableError`` when a
    file that was asked for is no RPM, or not a whole one.
    """
    given = [name for name in (*request.install, *request.upgrade) if is_file(name)]
    paths = root.call(link_files, {name: (files or {})[name] for name in given})
    called = {path: name for name, path in paths.items()}
    asked = _Asked(request, paths, rpmdb.of_files(root, tuple(called), called))
    if mirrors:
        root.call(repofile.redirect_all, dict(mirrors))
    try:
        return _done(root, asked, mirrors or {})
    except PipelineError as error:
        # rpm looks at what lies behind the header of an RPM only when it installs it.
        if found := rpmdb.damaged(root, called):
            raise UnreadableError([*error.problems, *found]) from error
        raise


def _done(root: Root, asked: _Asked, mirrors: Mapping[str, str]) -> Resolution:
    request = asked.request
    manager = yum.find(root)
    before = rpmdb.packages(root)
    _refuse_upgrades_of_nothing(asked, before)
    said = _remove(root, manager, request.remove, before)
    if request.upgrade:
        said += _upgrade(root, manager, asked)
    if request.install:
        said += _install(root, manager, asked)
    after = rpmdb.packages(root)
    _refuse_what_is_absent(root, asked, after, said)
    new = [package for package in after if package not in set(before)]
    gone = [package for package in before if package not in set(after)]
    return Resolution(
        install=_with_files(root, manager, new, asked, mirrors),
        remove=tuple(sorted(map(str, gone))),
    )


def _remove(root: Root, manager: yum.Yum, names: Sequence[str], present: Collection[Nevra]) -> str:
    there = [name for name in names if any(matches(name, package) for package in present)]
    return yum.ask(root, manager.argv("remove", *there)) if there else ""


def _upgrade(root: Root, manager: yum.Yum, asked: _Asked) -> str:
    names = [asked.word(name) for name in asked.request.upgrade if name != "*"]
    text = yum.ask(root, manager.argv("upgrade")) if "*" in asked.request.upgrade else ""
    return text + (yum.ask(root, manager.argv("upgrade", *names)) if names else "")


def _install(root: Root, manager: yum.Yum, asked: _Asked) -> str:
    """Install; what is installed in a newer version than the one asked for is taken back to that one."""
    wanted = asked.request.install
    said = yum.ask(root, manager.argv("install", *map(asked.word, wanted)))
    present = rpmdb.packages(root)
    names = {package.name for package in present}
    older = [
        name
        for name in wanted
        if not any(asked.matches(name, package) for package in present)
        and (asked.packages[asked.paths[name]].name in names if is_file(name) else _versioned(name, names))
    ]
    if older:
        said += yum.ask(root, manager.argv("downgrade", *map(asked.word, older)))
    return said


def _versioned(asked: str, names: Collection[str]) -> bool:
    """Whether ``asked`` is a version of a package of which there is another one."""
    parts = asked.split("-")
    return any("-".join(parts[:end]) in names for end in range(1, len(parts)))


def _refuse_upgrades_of_nothing(asked: _Asked, present: Sequence[Nevra]) -> None:
    names = {package.name for package in present}
    absent = []
    for name in asked.request.upgrade:
        if is_file(name):
            there = asked.packages[asked.paths[name]].name in names
        else:
            there = any(matches(name, package) for package in present) or _versioned(name, names)
        if not there:
            absent.append(name)
    if absent:
        raise PipelineError(
            Problem(
                f"upgrade: {name} is not installed in the image",
                hint="install instead of upgrade brings what is not there",
            )
            for name in absent
        )


def _refuse_what_is_absent(root: Root, asked: _Asked, after: Sequence[Nevra], said: str) -> None:
    """yum 3 exits 0 when one of several names exists; so the result is looked at."""
    absent = [
        name
        for name in (*asked.request.install, *asked.request.upgrade)
        if not any(asked.matches(name, package) for package in after) and not _is_provided(root, name)
    ]
    if not absent:
        return
    words = yum.quoted(yum.complaints(said))
    by_name = {package.name: package for package in after}
    problems = []
    for name in absent:
        named = asked.packages[asked.paths[name]].name if is_file(name) else name
        instead = f"; {by_name[named]} is" if named in by_name else ""
        problems.append(
            Problem(
                f"{name} is not installed after the package manager was asked for it{instead}{words}",
                hint="is its repository enabled in the image, or added by a stage before this one?",
            )
        )
    raise PipelineError(problems)


def _is_provided(root: Root, name: str) -> bool:
    if is_file(name) or is_pattern(name):
        return False
    return root.run(["rpm", "-q", "--whatprovides", name], exit_codes=()).exit_code == 0


def _with_files(
    root: Root, manager: yum.Yum, new: Sequence[Nevra], asked: _Asked, mirrors: Mapping[str, str]
) -> tuple[ResolvedPackage, ...]:
    given = {asked.packages[path]: location for location, path in asked.paths.items()}
    wanted = [package for package in new if package not in given]
    urls = yum.base_urls(root.run(manager.repositories(), exit_codes=()).text) if wanted else {}
    fetched = _fetched(root, wanted, urls)
    urls = {repository: repofile.from_mirror(url, mirrors) for repository, url in urls.items()}
    return tuple(
        ResolvedPackage(str(package), location=given[package])
        if package in given
        else _from_repository(str(package), fetched[package], urls)
        for package in new
    )


def _fetched(root: Root, wanted: Sequence[Nevra], urls: Mapping[str, str]) -> dict[Nevra, str]:
    """Package → its RPM below ``OUT``. Those of ``file://`` repositories, used in place, are copied there."""
    folders = {
        url.removeprefix("file://"): f"{yum.CACHE}/{repository}"
        for repository, url in urls.items()
        if url.startswith("file://")
    }
    paths = root.call(rpm_files, (*folders, yum.CACHE)) if wanted else ()
    found = _named_like(root, paths, wanted)
    if not set(wanted) <= set(found):
        found = {package: path for path, package in rpmdb.of_files(root, paths).items()}
    lost = [package for package in wanted if package not in found]
    if lost:
        raise PipelineError(
            Problem(f"{package} was installed, but its RPM is not among what was downloaded")
            for package in lost
        )
    return root.call(keep, {package: found[package] for package in wanted}, folders)


def _named_like(root: Root, paths: Sequence[str], wanted: Sequence[Nevra]) -> dict[Nevra, str]:
    """The packages of files with the usual names: to read all the headers of a big repository takes long."""
    names = {f"{package.label}.rpm" for package in wanted}
    likely = [path for path in paths if os.path.basename(path) in names]
    return {package: path for path, package in rpmdb.of_files(root, likely).items()}


def _from_repository(nevra: str, path: str, urls: Mapping[str, str]) -> ResolvedPackage:
    """The package of the RPM at ``path``, which lies in the cache of one of the repositories of ``urls``."""
    file = os.path.relpath(path, OUT)
    folder = os.path.relpath(path, yum.CACHE).split("/")[0]
    found = DNF_FOLDER.match(folder)
    repository = found["repository"] if found else folder
    if repository not in urls:  # it cannot be told which
        return ResolvedPackage(nevra, file=file, base_urls=tuple(dict.fromkeys(urls.values())))
    lists = os.path.relpath(f"{yum.CACHE}/{folder}", OUT)
    return ResolvedPackage(nevra, file=file, base_urls=(urls[repository],), lists=lists)


def keep(paths: Mapping[Nevra, str], folders: Mapping[str, str]) -> dict[Nevra, str]:
    """Copy RPMs that lie in one of ``folders`` to where that maps to. Meant for the inside of a chroot."""
    kept = dict(paths)
    for package, path in paths.items():
        for folder, target in folders.items():
            if path.startswith(folder.rstrip("/") + "/"):
                os.makedirs(target, exist_ok=True)
                kept[package] = shutil.copyfile(path, os.path.join(target, os.path.basename(path)))
    return kept


def link_files(files: Mapping[str, str]) -> dict[str, str]:
    """Give RPM files names that end in .rpm, by which yum knows them. Meant for the inside of a chroot."""
    os.makedirs(LINKS, exist_ok=True)
    named = {}
    for number, (location, path) in enumerate(files.items()):
        named[location] = f"{LINKS}/{number}-{location.rsplit('/', 1)[-1]}"
        if os.path.lexists(named[location]):
            os.unlink(named[location])
        os.symlink(path, named[location])
    return named


def rpm_files(folders: Sequence[str]) -> tuple[str, ...]:
    """The RPMs below ``folders``, those of the later folders last. Meant for the inside of a chroot."""
    return tuple(
        os.path.join(place, name)
        for folder in folders
        for place, _, names in sorted(os.walk(folder))
        for name in sorted(names)
        if name.endswith(".rpm")
    )
