"""What of the store is needed, by recipes, locks, versions and publications; the rest is removed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path

from msgspec.structs import replace

from pipeline.build.foundation import presumed_foundation
from pipeline.build.plan import plan
from pipeline.build.prospect import layers_of, version_of
from pipeline.build.releasing import Held, directories, held, newest, release
from pipeline.build.session import in_order
from pipeline.errors import PipelineError
from pipeline.events import Note, Observer
from pipeline.mirrors import Mirrors
from pipeline.publish.record import require_here
from pipeline.recipe.load import load_recipes, recipe_names
from pipeline.recipe.model import Recipe, Site
from pipeline.sources import lock as locks
from pipeline.sources.locations import locate
from pipeline.sources.lock import Lock
from pipeline.store.filesystem import lock_directory
from pipeline.store.garbage import Needs, Removal, every_version, garbage, remove
from pipeline.store.presence import alone
from pipeline.store.records import Version
from pipeline.store.store import Store
from pipeline.store.version_lock import damage, lock_of


def collectable(
    site: Site, store: Store, keep: int | None, *, unpublish: bool = False, force: bool = False
) -> tuple[Removal, ...]:
    """What ``collect`` would remove now; of what builds that run just now will need it knows nothing.

    Raises ``PipelineError`` when a recipe or lock is wrong: then it is not known what it needs.
    """
    versions = every_version(store)
    return _found(site, store, versions, _kept(site, store, versions, keep, unpublish=unpublish, force=force))


def collect(
    site: Site,
    store: Store,
    keep: int | None,
    observer: Observer,
    *,
    unpublish: bool = False,
    force: bool = False,
) -> tuple[Removal, ...]:
    """Remove everything that nothing needs, and all but the newest ``keep`` versions of each image (None: all
    stay), and return what is gone.

    Versions that are published, have been published and can be rolled back to, are the base of another one
    that stays, or that somebody is in, stay; with ``unpublish`` of the published ones only those that
    ``held`` names, which by ``force`` are fewer. Waits for builds to end, and lets none begin meanwhile.
    """

    def waiting() -> None:
        observer(Note(image="", stage="gc", text="waiting for builds that run now to end"))

    gone: list[Removal] = []
    with ExitStack() as entered:
        entered.enter_context(alone(store, waiting))
        for image in sorted(os.listdir(store.path / "images")):
            entered.enter_context(store.lock(f"publish-{image}", waiting))
        versions = every_version(store)
        kept = _kept(site, store, versions, keep, unpublish=unpublish, force=force)
        busy = [version for version in versions if version not in kept and not _hold(store, version, entered)]
        for version in busy:
            observer(Note(image=version.image, stage="gc", text=f"{version.label} stays: somebody is in it"))
        stays = _with_bases(versions, (*kept, *busy))
        found = _found(site, store, versions, stays)
        left = release(site, store, [version for version in versions if version not in stays])
        gone += [removal for removal in found if removal.kind == "directory"]
        left += remove(store, [removal for removal in found if removal.kind != "directory"], gone.append)
        for text in dict.fromkeys(left):
            observer(Note(image="", stage="gc", text=text))
    return tuple(gone)


def held_back(
    site: Site, store: Store, keep: int | None, *, unpublish: bool = False, force: bool = False
) -> tuple[Held, ...]:
    """The versions that ``keep`` alone would remove, and that stay because they are published."""
    if unpublish:
        require_here(site, store, store.versions.images())
    return tuple(
        each
        for image in store.versions.images()
        for each in held(site, store, image, keep, unpublish=unpublish, force=force)
    )


def _hold(store: Store, version: Version, held: ExitStack) -> bool:
    """Keep others from entering a version; False when somebody is in it."""
    lock = lock_directory(store.versions.directory(version))
    if lock is None:
        return False
    held.callback(os.close, lock)
    return True


def _kept(
    site: Site,
    store: Store,
    versions: tuple[Version, ...],
    keep: int | None,
    *,
    unpublish: bool,
    force: bool,
) -> tuple[Version, ...]:
    stays = {(image, number) for image in store.versions.images() for number in newest(store, image, keep)}
    for each in held_back(site, store, keep, unpublish=unpublish, force=force):
        stays.add((each.version.rpartition("@")[0], each.number))
    return _with_bases(versions, (each for each in versions if (each.image, each.number) in stays))


def _with_bases(versions: tuple[Version, ...], kept: Iterable[Version]) -> tuple[Version, ...]:
    """``kept`` and all versions that those stand on, in the order of ``versions``."""
    labels = {version.label for version in kept}
    while True:
        below = {
            base.label
            for version in versions
            if version.label in labels
            for base in versions
            if base.image == version.base and base.layers == version.layers[: len(base.layers)]
        }
        if below <= labels:
            return tuple(version for version in versions if version.label in labels)
        labels |= below


def _found(
    site: Site, store: Store, versions: tuple[Version, ...], kept: tuple[Version, ...]
) -> tuple[Removal, ...]:
    recipes = load_recipes(recipe_names(site), site)
    used = [lock for recipe in recipes if (lock := locks.read(recipe.lock_file)) is not None]
    used += _locks_of(store, kept)
    return (
        *directories(site, store, (version for version in versions if version not in kept)),
        *garbage(
            store, replace(_needs(site, recipes, kept, used), layers=_in_use(site, store, recipes, kept))
        ),
        *_half_published(site, store),
    )


def _locks_of(store: Store, versions: Iterable[Version]) -> list[Lock]:
    """Raises ``PipelineError`` with all that are lost or damaged: what they name may be nowhere else."""
    versions = tuple(versions)
    problems = [
        replace(problem, message=f"{problem.message}; gc removes nothing, since what it needs is not known")
        for version in versions
        if (problem := damage(store, version)) is not None
    ]
    if problems:
        raise PipelineError(problems)
    return [lock for version in versions if (lock := locks.read(lock_of(store, version))) is not None]


def _needs(site: Site, recipes: Iterable[Recipe], kept: tuple[Version, ...], used: Iterable[Lock]) -> Needs:
    bases = {recipe.base for recipe in recipes if not recipe.base_recipe}
    files = dict(file for lock in used for file in _files(lock))
    mirrors = Mirrors(site.mirrors)
    places = (locate(location, mirrors, site.project) for location in files)
    return Needs(
        versions=kept,
        bases=frozenset(bases | {version.base for version in kept}),
        downloads=frozenset(digest for lock in used for _, digest in _files(lock)),
        partials=frozenset(map(_name, (*files, *files.values()))),
        seen=frozenset(_name(os.path.abspath(place)) for place in places if isinstance(place, Path)),
    )


def _in_use(site: Site, store: Store, recipes: Iterable[Recipe], kept: tuple[Version, ...]) -> frozenset[str]:
    """The layers that a build of ``recipes`` finds now, of those that come to a version that stays.

    They need not be the version's: other code or other modes of files give the same contents new keys.
    """
    labels = {version.label for version in kept}
    came_to: dict[str, int] = {}
    layers: set[str] = set()
    for recipe in in_order(tuple(recipes)):
        if recipe.base_recipe and recipe.base not in came_to:
            continue
        with suppress(PipelineError):  # then a build stops at it, too, and finds nothing
            found = presumed_foundation(recipe, site, store, came_to.get(recipe.base))
            if found is None:
                continue
            planned = plan(recipe, site, store, found, locks.read(recipe.lock_file))
            version = version_of(recipe, found, planned, store) if planned.complete else None
            if version is not None and version.label in labels:
                came_to[recipe.name] = version.number
                layers.update(layers_of(found, planned))
    return frozenset(layers)


def _files(lock: Lock) -> Iterator[tuple[str, str]]:
    """(location, sha256) of every file that a lock names."""
    for source in lock.sources:
        yield source.location, source.sha256
    for stage in lock.stages:
        for package in stage.answer.install:
            yield package.location, package.sha256


def _name(of: str) -> str:
    """How notes and partial files are named."""
    return sha256(os.fsencode(of)).hexdigest()


def _half_published(site: Site, store: Store) -> tuple[Removal, ...]:
    """What copying, removing or linking left beside the directories of versions when it was killed."""
    if not site.images.is_dir():
        return ()
    images = "|".join(map(re.escape, store.versions.images()))
    half = re.compile(rf"\.({images})(-[0-9]+\.[^/]+|\.link)")
    return tuple(
        Removal(
            kind="leftover",
            name=name,
            path=str(site.images / name),
            bytes=0,
            why="of a publication that was killed",
        )
        for name in sorted(os.listdir(site.images))
        if images and half.fullmatch(name)
    )
