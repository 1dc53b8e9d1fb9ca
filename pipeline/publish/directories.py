"""The directories ``IMAGES/NAME-N``: making one be there, and taking it away."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from pipeline.errors import PipelineError, Problem
from pipeline.publish import mounted
from pipeline.publish.lowers import is_outdated, remember_lowers, require_layers
from pipeline.publish.reaching import require_reach
from pipeline.publish.record import Publication, directory, remember
from pipeline.publish.users import is_used, used
from pipeline.recipe.model import Site
from pipeline.removing import remove_tree
from pipeline.store.filesystem import sync_directory, told
from pipeline.store.records import Version
from pipeline.store.store import Store

OVERLAY = "overlay"


def how(site: Site, store: Store, now: Publication, image: str, number: int) -> str | None:
    """How the directory of a version has to be made (``overlay``, ``copy``); None when it is there.

    One that is mounted of layers that are gone by now has to be mounted again.
    Raises ``PipelineError`` when something else has its name, and ``MachineError`` where a mount would not be
    the machine's.
    """
    target, mode = directory(site, image, number), now.directories.get(number)
    if mode == OVERLAY and mounted.is_mounted(target):
        if not is_outdated(store, edits(store, target)):
            return None
        require_reach(site, f"{image}@{number} cannot be mounted again")
        return OVERLAY
    if mode not in (None, OVERLAY) and target.is_dir() and not target.is_symlink():
        return None
    _refuse_foreign(target)
    if (mode or site.publish_mode) == OVERLAY:
        require_reach(site, f"{image}@{number} cannot be mounted")
    return mode or site.publish_mode


def _refuse_foreign(target: Path) -> None:
    if not os.path.lexists(target):
        return
    what = f"{target} is in the way: "
    hint = "move it, or give the site another images directory"
    if target.is_symlink() or not target.is_dir():
        raise PipelineError(
            what + "it is no directory that pipeline publish made", hint=hint, command=f"ls -ld {target}"
        )
    if mounted.is_mounted(target):
        raise PipelineError(
            what + "something is mounted there that this store does not know",
            hint="unmount it, or give the site another images directory",
            command=f"umount {target}",
        )
    if any(target.iterdir()):
        raise PipelineError(
            what + "it holds files that pipeline publish did not put there",
            hint=hint,
            command=f"ls -la {target}",
        )


def appear(site: Site, store: Store, version: Version, now: Publication) -> Publication:
    """Make the directory of ``version`` be there, in the way that ``how`` says, and remember it."""
    mode = how(site, store, now, version.image, version.number)
    if mode is None:
        return now.placed(site)
    target = directory(site, version.image, version.number)
    require_layers(store, version)
    if mode == OVERLAY and mounted.is_mounted(target):
        _unmount(target)
    after = now.having(version.number, mode).placed(site)
    remember(store, version.image, after)
    # Stopped here: the next publish (what was to be mounted: the next restore) makes it.
    try:
        if mode == OVERLAY:
            target.mkdir(exist_ok=True)
            trees = [store.layer_tree(name) for name in version.layers]
            remember_lowers(store, version.layers, edits(store, target))
            mounted.mount_version(version.label, trees, edits(store, target), target)
        else:
            _copy(store, version, target)
    except BaseException:
        with suppress(OSError, PipelineError):
            disappear(target, mode)
        remember(store, version.image, now)
        raise
    return after


def make_images(site: Site) -> None:
    """Make the images directory when it is not there, and let all look into it, whatever the umask."""
    place = site.images
    if place.is_dir():
        return
    if os.path.lexists(place):
        require_images(site)
    new = [each for each in (place, *place.parents) if not each.exists()]
    place.mkdir(parents=True, exist_ok=True)
    for each in new:
        each.chmod(0o755)


def require_images(site: Site) -> None:
    """Raise ``PipelineError`` when the images directory is not there."""
    place = site.images
    if place.is_dir():
        return
    if os.path.lexists(place):
        real = os.path.realpath(place)
        raise PipelineError(
            f"the images directory {place} is gone: it leads to {real}, which is no directory",
            hint="mount or make what it leads to, or name another one in the site file",
            command=f"mkdir -p {real}",
        )
    raise PipelineError(
        f"the images directory {place} is gone: copies made now would go to the disk of {_above(place)}",
        where=str(site.file),
        hint="is its own disk not mounted? mount it, and run the same command again; if it was removed, "
        f"make it first: mkdir -p {place}",
    )


def _above(place: Path) -> Path:
    """The nearest directory that is there."""
    return next(each for each in place.parents if each.is_dir())


def edits(store: Store, target: Path) -> Path:
    """Where hand edits in the mounted directory ``target`` are kept, for as long as the version is."""
    return store.path / "published" / target.name


def sweep(site: Site, image: str) -> tuple[str, ...]:
    """Remove what was left half copied or half removed, and tell of what cannot be: it is in nobody's way.

    The image's lock must be held.
    """
    if not site.images.is_dir():
        return ()
    half = re.compile(re.escape(f".{image}-") + r"[0-9]+(\.[0-9]+)?\.tree")
    found = [site.images / name for name in sorted(os.listdir(site.images)) if half.fullmatch(name)]
    return tuple(text for place in found if (text := _left(place)) is not None)


def _left(place: Path) -> str | None:
    """Remove a leftover; when it cannot be, what there is to say of it."""
    try:
        with told(f"the leftover {place.name} cannot be removed", place):
            remove_tree(place)
    except PipelineError as error:
        return str(error)
    return None


def _beside(target: Path) -> Path:
    """A free name beside ``target``, which the next sweep removes: of a leftover that stays, the next one."""
    for number in count():
        place = target.with_name(f".{target.name}.{number}.tree" if number else f".{target.name}.tree")
        with suppress(OSError):
            remove_tree(place)
        if not os.path.lexists(place):
            break
    return place


def _copy(store: Store, version: Version, target: Path) -> None:
    from pipeline.publish.copied import copy_version

    beside = _beside(target)
    copy_version(store, version, beside)
    # Stopped here or before: what the next sweep removes lies in IMAGES under a name with a dot.
    beside.rename(target)
    sync_directory(target.parent.resolve())


def refuse_busy(targets: Sequence[Path]) -> None:
    """Raise ``PipelineError`` with every directory of ``targets`` that is in use."""
    problems = [
        _busy(target)
        for target in targets
        if (mounted.is_busy(target) if mounted.is_mounted(target) else is_used(target))
    ]
    if problems:
        raise PipelineError(problems)


def _busy(target: Path) -> Problem:
    return used(target, ", and stays published", mounted=mounted.is_mounted(target))


def _unmount(target: Path) -> None:
    try:
        mounted.unmount(target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise PipelineError([_busy(target)]) from None


def disappear(target: Path, mode: str) -> None:
    """Take a directory away; what was there no more is no error, and what cannot be removed is left to sweep.

    Raises ``PipelineError`` when it is in use.
    """
    if mode == OVERLAY:
        if mounted.is_mounted(target):
            _unmount(target)
        if target.is_dir():
            target.rmdir()
    elif os.path.lexists(target):
        beside = _beside(target)
        # Stopped after the rename: the next sweep removes the rest, or tells of what cannot be removed.
        target.rename(beside)
        with suppress(OSError):
            remove_tree(beside)
    if target.parent.is_dir():  # somebody may have taken all of it away
        sync_directory(target.parent.resolve())
