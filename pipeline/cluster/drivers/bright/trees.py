"""The directories of images: an object whose copying failed or goes on is no image that nodes can have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from pipeline.cluster.drivers.bright.parse import plain
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.objects import Properties, Ref, Wanted
from pipeline.errors import PipelineError, Problem

# $1: the root, then paths. The numbers of those that aren't there, or have nothing in them.
MISSING = r"""
root=${1%/}; shift; number=0
for path; do
  if ! test -d "$root$path"; then echo "$number gone"
  elif names=$(ls -A "$root$path/") && test -z "$names"; then echo "$number empty"
  fi
  number=$((number + 1))
done
"""

Lacking = Mapping[str, Literal["gone", "empty"]]
"""Directories that aren't as they are to be."""

COPYING = re.compile(r"copying\b.*->\s*(?P<path>/\S+)", re.IGNORECASE)
"""A line of `provisioningstatus`; how it is worded is not documented."""


TREE = "/cm/images/{}"
"""Where the tree of a clone is copied to that is given no other path."""

AGAIN, OTHERS = "publish it again", ", or take its nodes to another version (pipeline rollout start)"
MADE_BY = "nothing but publishing makes it; an image and its nodes get what is published"
REMOVED = "remove the object by hand and apply again"


class Image(msgspec.Struct, frozen=True):
    """An image that is wanted: the path that it has, and the one that it is to have; None: it is not there.

    ``users`` are categories that have it.
    """

    item: Wanted
    now: str | None
    goal: str
    users: tuple[str, ...] = ()

    @property
    def is_copied(self) -> bool:
        """Whether it is made by copying its source's tree to its path."""
        return bool(self.item.source) and self.goal == TREE.format(self.item.ref.name)

    @property
    def comes(self) -> bool:
        """Whether it gets its path by what is applied, with a tree that has to be there."""
        return self.goal != self.now and not (self.now is None and self.is_copied)


def refuse_missing(session: Session, wanted: Iterable[Wanted], top: Mapping[Ref, Properties]) -> None:
    """Raise with all wanted images that have no tree, or one that is still being copied, and those that are
    to have a directory that is not there. One that the file itself gives another directory may lack its own.
    A version's has to have something in it, too: what is mounted there may not be.

    Only what the file itself clones is advised to be removed: an apply makes it again.
    """
    wanted = tuple(wanted)
    images, rolled = _images(wanted, top), _rolled(wanted, top)
    if not images and not rolled:
        return
    head = session.head
    known = [path for image in images for path in (image.goal, image.now) if path]
    paths = list(dict.fromkeys([*known, *(path for _, path in rolled.values())]))
    ran = head.run(("sh", "-c", MISSING, "sh", head.root, *paths), seconds=head.answer_seconds)
    lacking = _lacking(paths, ran.out)
    held_up = copying(session)
    held = {image.item.ref for image in images}
    problems = [
        Problem(
            f"its tree is still being copied to {image.now}",
            str(image.item.ref),
            "plan again when CMDaemon has copied it",
        )
        for image in images
        if image.now in held_up
    ]
    problems += [
        _missing(image, lacking)
        for image in images
        if image.goal in lacking and image.goal not in held_up and (image.comes or image.now is not None)
        if image.item.ref not in rolled
        if lacking[image.goal] == "gone" or image.item.version
    ]
    problems += [
        _unpublished(f"image: the directory {path} of {ref.name}", item, lacking[path], AGAIN, OTHERS)
        for ref, (item, path) in rolled.items()
        if path in lacking and path not in held_up
    ]
    problems += [problem for image in images for problem in _taken(image, held, top)]
    if problems:
        raise PipelineError(problems)


def _images(wanted: Iterable[Wanted], top: Mapping[Ref, Properties]) -> list[Image]:
    """The images that are wanted, each once: as the file says it, if it does."""
    items: dict[Ref, Wanted] = {}
    for item in wanted:
        if item.exact and not item.make:
            continue  # the file no longer has it
        if item.ref.kind == "image" and (item.at or item.exact or item.source or item.ref not in items):
            items[item.ref] = item
    found = []
    for ref, item in items.items():
        now = str(top[ref].get("path", "")) if ref in top else None
        goal = str(item.exact.get("path") or now or (TREE.format(ref.name) if item.source else ""))
        users = tuple(
            one.name for one, its in top.items() if one.kind == "category" and its.get("image") == ref.name
        )
        if goal:
            found.append(Image(item, now, goal, users))
    return found


def _rolled(wanted: Iterable[Wanted], top: Mapping[Ref, Properties]) -> dict[Ref, tuple[Wanted, str]]:
    """Images that a rollout has made: the first category that has it by that, and where its directory is."""
    found: dict[Ref, tuple[Wanted, str]] = {}
    for item in wanted:
        ref = Ref("image", str(item.exact.get("image", "")))
        if item.ref.kind == "category" and item.version and (path := str(top.get(ref, {}).get("path", ""))):
            found.setdefault(ref, (item, path))
    return found


def _lacking(paths: Sequence[str], told: str) -> Lacking:
    """What ``MISSING`` told of ``paths``."""
    found: dict[str, Literal["gone", "empty"]] = {}
    for line in told.splitlines():
        number, _, how = line.partition(" ")
        if number.isdigit():
            found[paths[int(number)]] = "empty" if how == "empty" else "gone"
    return found


def _unpublished(what: str, item: Wanted, how: str, hint: str, more: str = "") -> Problem:
    if how == "empty":
        told = f"{what} is empty: this version is not mounted"
        hint = f"mount it again on the machine that publishes{more}"
        return Problem(told, str(item.ref), hint, "pipeline publish --restore")
    told = f"{what} is not there: this version is not published"
    return Problem(told, str(item.ref), hint + more, f"pipeline publish {item.version}")


def _missing(image: Image, lacking: Lacking) -> Problem:
    """That the directory is not there, or not whole, which an image has, or is to have."""
    item, path = image.item, image.goal
    if item.version:
        return _unpublished(f"path: {path}", item, lacking[path], MADE_BY)
    if image.comes:
        copied = f", or leave the path out: the clone's tree is copied to {TREE.format(item.ref.name)}"
        hint = f"make it first{copied if item.source and image.now is None else ''}"
        return Problem(f"path: {path} is not there, and nothing is copied to it", str(item.ref), hint)
    if not image.is_copied:
        return Problem(
            f"its directory {path} is not there",
            str(item.ref),
            "it is not made by this file: mount it or put it back, or give the image its directory",
        )
    message = f"its directory {path} is not there: it was copied only in part, or not at all"
    if image.users:
        users = ", ".join(image.users)
        hint = f"put it back; or give other images to those that have it (category {users}), then {REMOVED}"
        return Problem(message, str(item.ref), hint)
    command = f"cmsh -c 'softwareimage; remove -d {item.ref.name}; commit'"
    return Problem(message, str(item.ref), REMOVED, command)


def _taken(image: Image, held: Collection[Ref], top: Mapping[Ref, Properties]) -> Iterable[Problem]:
    """That another image of the cluster, which the file does not have, is where this one is to be."""
    if image.goal == image.now:
        return
    # A clone is committed where its tree is copied to, whatever path it gets then.
    copied = TREE.format(image.item.ref.name) if image.item.source and image.now is None else image.goal
    for ref, its in top.items():
        theirs = str(its.get("path", ""))
        if ref.kind != "image" or ref in held or not theirs:
            continue
        for path in dict.fromkeys((image.goal, copied)):
            if f"{path}/".startswith(f"{theirs}/") or f"{theirs}/".startswith(f"{path}/"):
                message = f"path: {path} is the directory of another image, or within it or around it"
                hint = "give this one another path, or let the cluster file have the other one too"
                yield Problem(f"{message}: {ref} has {theirs}", str(image.item.ref), hint)


def copying(session: Session) -> Collection[str]:
    """Where trees are being copied to; nothing where cmsh doesn't tell."""
    ran = session.run("softwareimage\nprovisioningstatus\n", seconds=session.head.answer_seconds)
    return {match["path"] for match in COPYING.finditer(plain(ran.out))}
