"""Making a lock: what the package manager of the image answers, with every RPM fetched, digested and kept."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from pipeline.build.outside import Outside
from pipeline.build.stage import StageRun, throwaway
from pipeline.errors import PipelineError, Problem, retold
from pipeline.events import Observer
from pipeline.packaging.resolve import ResolvedPackage, resolve
from pipeline.recipe.model import Site
from pipeline.stages.base import LockedPackage, PackageAnswer, PackageRequest
from pipeline.store.store import Store


def answer(
    request: PackageRequest, run: StageRun, site: Site, store: Store, outside: Outside, observer: Observer
) -> PackageAnswer:
    """What ``request`` comes to on top of the layers of ``run``, now.

    ``run.files`` holds the RPMs that the request names itself. Raises ``PipelineError`` with the package
    manager's words.
    """
    with throwaway(store, run, observer) as (root, out):
        try:
            resolution = resolve(
                root, request, files=run.inputs().sources, mirrors=outside.repository_prefixes
            )
        except PipelineError as error:
            told = [replace(problem, message=outside.told(problem.message)) for problem in error.problems]
            raise retold(error, told) from None
        given = tuple(_given(package, site, outside) for package in resolution.install if not package.file)
        found = tuple(package for package in resolution.install if package.file)
        fetched = _fetched(found, out, site, outside)
    packages = sorted((*given, *fetched), key=lambda package: package.nevra)
    return PackageAnswer(install=tuple(packages), remove=resolution.remove)


def _given(package: ResolvedPackage, site: Site, outside: Outside) -> LockedPackage:
    """A package that the recipe names by URL or path."""
    location = package.location or ""
    file = outside.fetcher.fetch(location, project=site.project)
    return LockedPackage(nevra=package.nevra, location=location, size=file.size, sha256=file.sha256)


def _fetched(
    packages: tuple[ResolvedPackage, ...], out: Path, site: Site, outside: Outside
) -> tuple[LockedPackage, ...]:
    """Packages from the image's repositories: each is kept as the package manager fetched it.

    Their URLs are looked up in the repositories' own lists, so that a build elsewhere finds them again: in
    those that the package manager has downloaded, which may have a password or a proxy that only it knows;
    in what the repositories have now only for what is not found there.
    """
    from pipeline.sources.repodata import locate, locate_kept

    files = {out / (package.file or ""): package for package in packages}
    kept_lists = {out / package.lists: package.base_urls[0] for package in packages if package.lists}
    places = locate_kept(kept_lists, files, outside.fetcher)
    left = {file: package for file, package in files.items() if file not in places}
    urls = dict.fromkeys(url for package in left.values() for url in package.base_urls)
    places |= locate(urls, left, outside.fetcher, site.project)
    lost = [package for file, package in files.items() if file not in places]
    if lost:
        raise PipelineError(
            Problem(
                f"{package.nevra} is in no list of {', '.join(package.base_urls) or 'any repository'}",
                hint="the repository changed meanwhile; lock again",
            )
            for package in lost
        )
    locked = []
    for file, package in files.items():
        kept = outside.fetcher.keep(file)
        locked.append(
            LockedPackage(nevra=package.nevra, location=places[file], size=kept.size, sha256=kept.sha256)
        )
    return tuple(locked)
