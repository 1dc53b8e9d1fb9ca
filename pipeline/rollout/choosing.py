"""Which versions a rollout takes nodes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.errors import PipelineError
from pipeline.nearest import nearest
from pipeline.publish.link import pointed_to
from pipeline.publish.record import publication
from pipeline.recipe.kinds import there_are
from pipeline.recipe.load import recipe_names
from pipeline.recipe.model import Site
from pipeline.rollout.model import Finding
from pipeline.store.records import Version
from pipeline.store.store import Store


class Chosen(msgspec.Struct, frozen=True):
    """``versions`` by image, and ``of``: the image of each category that has one of these."""

    versions: Mapping[str, Version]
    of: Mapping[str, str]
    findings: tuple[Finding, ...] = ()


def chosen(site: Site, store: Store, images: Mapping[str, str], asked: Iterable[str]) -> Chosen:
    """The versions that were ``asked`` for, or else those of all images of the file's categories.

    ``images`` maps categories to images. An image that has a recipe and was never built is an error.
    """
    findings: list[Finding] = []
    asked = tuple(asked)
    pick = _asked if asked else _usual
    versions = pick(site, store, tuple(dict.fromkeys(images.values())), asked, findings)
    of = {category: image for category, image in images.items() if image in versions}
    if not versions and not findings:
        findings.append(_error("no category of the cluster file has an image of which there are versions"))
    return Chosen(versions, of, tuple(findings))


def _asked(
    site: Site, store: Store, images: tuple[str, ...], asked: tuple[str, ...], findings: list[Finding]
) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for text in asked:
        name = text.partition("@")[0]
        if name not in images:
            near = nearest(name, images) or there_are(images)
            findings.append(
                _error(f'no category of the cluster file has the image "{name}"{near}', "--image")
            )
            continue
        try:
            version = store.versions.resolve(text) if "@" in text else _best(site, store, name)
        except PipelineError as error:
            findings += [
                Finding("error", each.message, "--image", each.hint or "", each.command or "")
                for each in error.problems
            ]
            continue
        if version is None:
            findings.append(_never_built(name))
        elif found.setdefault(name, version).number != version.number:
            findings.append(_error(f"two versions of {name} at once: {found[name].label}, {text}", "--image"))
    return found


def _usual(
    site: Site, store: Store, images: tuple[str, ...], asked: tuple[str, ...], findings: list[Finding]
) -> dict[str, Version]:
    found: dict[str, Version] = {}
    recipes = recipe_names(site)
    for name in images:
        version = _best(site, store, name)
        if version is not None:
            found[name] = version
        elif name in recipes:
            findings.append(_never_built(name))
    return found


def _best(site: Site, store: Store, image: str) -> Version | None:
    """What is published of an image; else the newest version that is verified, or the newest."""
    number = publication(store, image).following(pointed_to(site, image)).current
    if number is not None and (version := store.versions.get(image, number)) is not None:
        return version
    versions = store.versions.all(image)
    passed = [each for each in versions if (kept := store.versions.verification(each)) and kept.passed]
    return (passed or versions or (None,))[-1]


def _never_built(image: str) -> Finding:
    return Finding("error", f"{image} was never built", image, "", f"pipeline build {image}")


def _error(what: str, where: str = "") -> Finding:
    return Finding("error", what, where)
