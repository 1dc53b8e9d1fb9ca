"""What ``fsck`` has to know of publications."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.publish.directories import OVERLAY, edits
from pipeline.publish.link import pointed_to
from pipeline.publish.lowers import lost_lowers
from pipeline.publish.mounted import is_mounted
from pipeline.publish.record import Publication, directory, present_directory, publication, record_file
from pipeline.recipe.model import Site
from pipeline.store.sealed import broken_seal
from pipeline.store.store import Store


def mounted_versions(store: Store) -> tuple[str, ...]:
    """The versions (``NAME@N``) that are published by mounting, of each image the present one last."""
    found: list[str] = []
    for image in store.versions.images():
        try:
            now = publication(store, image)
        except (OSError, PipelineError):
            continue  # ``check_publications`` tells it
        numbers = sorted(number for number, mode in now.directories.items() if mode == OVERLAY)
        found += [f"{image}@{number}" for number in sorted(numbers, key=lambda each: each == now.current)]
    return tuple(found)


def check_publications(site: Site, store: Store) -> tuple[Problem, ...]:
    """Every record of publications that cannot be read, or names versions or layers that are not there, with
    the one that what is there comes to."""
    problems: list[Problem] = []
    for image in sorted(os.listdir(store.path / "images")):
        file = record_file(store, image)
        try:
            now = publication(store, image)
            problems += _unlike(site, store, image, now)
        except PipelineError as error:
            problems += [
                Problem(each.message, str(file), _remedy(site, store, image)) for each in error.problems
            ]
        except OSError as error:
            told = f"the file cannot be read: {error.strerror}"
            problems.append(Problem(told, str(file), _remedy(site, store, image)))
    return tuple(problems)


def _unlike(site: Site, store: Store, image: str, now: Publication) -> Iterator[Problem]:
    """What in a record that can be read is not so."""
    file = record_file(store, image)
    seal = broken_seal(file, "")
    if seal is not None:
        yield Problem(seal.message, seal.where, _remedy(site, store, image))
    numbers = store.versions.numbers(image)
    named = {*now.directories, *now.history, *now.intended}
    lost = ", ".join(f"{image}@{number}" for number in sorted(named.difference(numbers)))
    if lost:
        told = f"it names what is no version: {lost}"
        yield Problem(told, str(file), _remedy(site, store, image))
    for number in sorted(number for number, mode in now.directories.items() if mode == OVERLAY):
        place = edits(store, present_directory(site, now, image, number))
        gone = ", ".join(lost_lowers(store, place))
        if gone:
            told = f"{image}@{number} was mounted of layers that are not there: {gone}"
            yield Problem(told, str(place), "see what else is told of them", "pipeline publish --restore")


def _remedy(site: Site, store: Store, image: str) -> str:
    file = shlex.quote(str(record_file(store, image)))
    found = _found(site, store, image)
    if not found.directories:
        return f"nothing of {image} is in {site.images}; remove the file: rm -r {file}"
    content = shlex.quote(msgspec.json.encode(found).decode())
    return f"write down again what is in {site.images}: rm -r {file}; printf %s {content} >{file}"


def _found(site: Site, store: Store, image: str) -> Publication:
    """What is published of ``image`` as far as can be seen; to what to roll back cannot."""
    directories = {
        number: mode
        for number in store.versions.numbers(image)
        if (mode := _mode(directory(site, image, number))) is not None
    }
    current = None
    with suppress(PipelineError):  # something else has the name of the link; publish tells it
        current = pointed_to(site, image)
    history = (current,) if current in directories else ()
    return Publication(history=history, directories=directories).placed(site)


def _mode(place: Path) -> str | None:
    """How a directory was published; an empty one is what a reboot leaves of a mount."""
    if place.is_symlink() or not place.is_dir():
        return None
    return OVERLAY if is_mounted(place) or not os.listdir(place) else "copy"
