"""What ``fsck`` has to know of publications."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.publish.directories import OVERLAY
from pipeline.publish.link import pointed_to
from pipeline.publish.mounted import is_mounted
from pipeline.publish.record import Publication, directory, publication, record_file
from pipeline.recipe.model import Site
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
    """Every record of publications that cannot be read, with the one that what is there comes to."""
    problems: list[Problem] = []
    for image in store.versions.images():
        file = record_file(store, image)
        try:
            publication(store, image)
        except PipelineError as error:
            problems += [
                Problem(each.message, str(file), _remedy(site, store, image)) for each in error.problems
            ]
        except OSError as error:
            told = f"the file cannot be read: {error.strerror}"
            problems.append(Problem(told, str(file), _remedy(site, store, image)))
    return tuple(problems)


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
