"""Which versions of an image appear as directories, and which one ``IMAGES/NAME`` points to."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, UnverifiedError
from pipeline.publish.mounted import mount_version, mounted_overlays, unmount
from pipeline.recipe.model import Site
from pipeline.store.filesystem import sync_directory, write_whole
from pipeline.store.records import Version, read
from pipeline.store.store import Store


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What is published of an image: ``published.json`` beside its versions.

    ``directories`` maps the number of each version that has a directory to how (``overlay`` or ``copy``).
    ``history`` are the numbers that ``IMAGES/NAME`` has pointed to, the present one last; rollback takes it
    away.
    """

    history: tuple[int, ...] = ()
    directories: dict[int, str] = {}

    @property
    def current(self) -> int | None:
        return self.history[-1] if self.history else None


def publication(store: Store, image: str) -> Publication:
    """What is published of ``image``."""
    return read(_record(store, image), Publication) or Publication()


def directory(site: Site, image: str, number: int) -> Path:
    """Where a version appears."""
    return site.images / f"{image}-{number}"


def publish(site: Site, store: Store, version: Version, *, unverified: bool = False) -> Path:
    """Make ``version`` appear as ``IMAGES/NAME-N`` and ``IMAGES/NAME`` point to it; returns the former.

    Raises ``UnverifiedError`` for a version that has not passed its tests, unless ``unverified``.
    """
    if not unverified:
        _require_verified(store, version)
    with store.lock(f"publish-{version.image}"):
        now = publication(store, version.image)
        target = _appear(site, store, version, now)
        now = publication(store, version.image)
        _point(site, store, version, (*_without(now.history, version.number), version.number))
    return target


def rollback(site: Site, store: Store, image: str, to: int | None = None) -> tuple[Version, Path]:
    """Make ``IMAGES/NAME`` point to the version that was published before, or to number ``to``.

    Nothing is copied, whatever the size. Raises ``PipelineError`` when there is none.
    """
    with store.lock(f"publish-{image}"):
        now = publication(store, image)
        if to is None and len(now.history) < 2:
            what = f"only {image}@{now.current} has been" if now.current else "nothing is"
            raise PipelineError(
                f"there is nothing to go back to: {what} published",
                hint="pipeline rollback IMAGE --to N publishes any version that has passed its tests",
                command=f"pipeline versions {image}",
            )
        number = now.history[-2] if to is None else to
        version = store.versions.resolve(f"{image}@{number}")
        if number not in now.history:
            _require_verified(store, version)
        target = _appear(site, store, version, now)
        history = now.history[:-1] if to is None else (*_without(now.history, number), number)
        _point(site, store, version, history)
    return version, target


def restore(site: Site, store: Store, told: Callable[[str], None]) -> int:
    """Mount everything again that was published by mounting, after a reboot. Returns how many were."""
    count = 0
    for image in store.versions.images():
        with store.lock(f"publish-{image}"):
            now = publication(store, image)
            for number in sorted(now.directories):
                version = store.versions.resolve(f"{image}@{number}")
                if _needs_mount(directory(site, image, number), now, number):
                    _appear(site, store, version, now)
                    told(f"mounted {directory(site, image, number)}")
                    count += 1
            if now.current is not None:
                _link(site, image, now.current)
    return count


def not_mounted(site: Site, store: Store) -> tuple[Path, ...]:
    """The directories that were published by mounting and are not mounted now."""
    found = []
    for image in store.versions.images():
        now = publication(store, image)
        for number, mode in sorted(now.directories.items()):
            target = directory(site, image, number)
            if mode == "overlay" and _needs_mount(target, now, number):
                found.append(target)
    return tuple(found)


def unpublish(site: Site, store: Store, image: str, number: int | None) -> tuple[Path, ...]:
    """Take away the directory of a version (None: of all, and the link). Hand edits in it are kept in the
    store. Raises ``PipelineError`` when it is in use, or is the one that ``IMAGES/NAME`` points to."""
    with store.lock(f"publish-{image}"):
        now = publication(store, image)
        numbers = sorted(now.directories) if number is None else [number]
        if number is not None and number not in now.directories:
            raise PipelineError(f"{image}@{number} is not published", command=f"pipeline versions {image}")
        if number is not None and number == now.current:
            raise PipelineError(
                f"{image}@{number} is what {site.images / image} points to",
                hint="publish another version first, or unpublish the image as a whole",
                command=f"pipeline rollback {image}",
            )
        if number is None:
            (site.images / image).unlink(missing_ok=True)
        gone = []
        for each in numbers:
            target = directory(site, image, each)
            _disappear(store, target, now.directories[each])
            rest = {kept: how for kept, how in now.directories.items() if kept != each}
            now = Publication(history=_without(now.history, each), directories=rest)
            _remember(store, image, now)
            gone.append(target)
    return tuple(gone)


def _require_verified(store: Store, version: Version) -> None:
    verification = store.versions.verification(version)
    if verification is None or not verification.passed:
        how = "its tests failed" if verification is not None else "its tests have not been run"
        raise UnverifiedError(
            f"{version.label} is not published: {how}",
            hint="--unverified publishes it all the same",
            command=f"pipeline verify {version.label}",
        )


def _needs_mount(target: Path, now: Publication, number: int) -> bool:
    if now.directories.get(number) == "overlay":
        return os.path.realpath(target.parent) + f"/{target.name}" not in mounted_overlays()
    return not target.is_dir()


def _appear(site: Site, store: Store, version: Version, now: Publication) -> Path:
    """Make the directory of ``version`` be there, as it was published before or as the site says now."""
    target = directory(site, version.image, version.number)
    site.images.mkdir(parents=True, exist_ok=True)
    mode = now.directories.get(version.number)
    if mode is not None and not _needs_mount(target, now, version.number):
        return target
    if mode is None:
        _refuse_foreign(target)
        mode = site.publish_mode
    if mode == "overlay":
        # Remembered first: stopped between the two, the next publish or restore mounts it.
        _remember(store, version.image, _with(now, version.number, mode))
        trees = [f"{name}/tree" for name in version.layers]
        edits = store.path / "published" / target.name
        mount_version(
            store.path / "layers", trees, edits, Path(os.path.realpath(target.parent)) / target.name
        )
    else:
        _copy(site, store, version, target)
        _remember(store, version.image, _with(now, version.number, mode))
    return target


def _refuse_foreign(target: Path) -> None:
    if os.path.lexists(target) and (not target.is_dir() or target.is_symlink() or any(target.iterdir())):
        raise PipelineError(
            f"{target} is in the way: it was not made by pipeline publish",
            hint="move it, or give the site another images directory",
            command=f"ls -ld {target}",
        )


def _copy(site: Site, store: Store, version: Version, target: Path) -> None:
    from pipeline.publish.copied import copy_version

    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    beside = site.images / f".{target.name}.{secrets.token_hex(4)}"
    copy_version(store, version, beside)
    # Stopped here: a directory with a dot in front lies in IMAGES, which the next gc removes.
    beside.rename(target)
    sync_directory(site.images)


def _disappear(store: Store, target: Path, mode: str) -> None:
    if mode == "overlay":
        real = Path(os.path.realpath(target.parent)) / target.name
        if str(real) in mounted_overlays():
            unmount(real)
        target.rmdir()
        return
    from pipeline.store.filesystem import remove_tree

    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    target.rename(beside)
    remove_tree(beside)


def _point(site: Site, store: Store, version: Version, history: tuple[int, ...]) -> None:
    """Remember ``history`` and turn the link: a reader sees the old tree or the new one."""
    _refuse_directory(site, version.image)
    now = publication(store, version.image)
    _remember(store, version.image, Publication(history=history, directories=now.directories))
    # Stopped here: the link is the old one; the next publish, rollback or restore turns it.
    _link(site, version.image, version.number)


def _link(site: Site, image: str, number: int) -> None:
    link, target = site.images / image, f"{image}-{number}"
    if link.is_symlink() and os.readlink(link) == target:
        return
    beside = site.images / f".{image}.{secrets.token_hex(4)}"
    beside.symlink_to(target)
    beside.rename(link)
    sync_directory(site.images)


def _refuse_directory(site: Site, image: str) -> None:
    link = site.images / image
    if os.path.lexists(link) and not link.is_symlink():
        raise PipelineError(
            f"{link} is in the way: it is no link that pipeline publish made",
            hint="give the site an images directory of its own, and let the cluster manager's software image "
            "use the path of the version",
            command=f"ls -ld {link}",
        )


def _with(now: Publication, number: int, mode: str) -> Publication:
    return Publication(history=now.history, directories={**now.directories, number: mode})


def _without(history: tuple[int, ...], number: int) -> tuple[int, ...]:
    return tuple(each for each in history if each != number)


def _record(store: Store, image: str) -> Path:
    return store.path / "images" / image / "published.json"


def _remember(store: Store, image: str, now: Publication) -> None:
    write_whole(_record(store, image), msgspec.json.encode(now))
