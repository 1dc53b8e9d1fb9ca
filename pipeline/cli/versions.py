"""List the versions of images: which passed their tests, and which one is published."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec
from msgspec.structs import asdict

from pipeline.cli.text import table, when
from pipeline.publish.publication import Publication, not_mounted, publication
from pipeline.publish.record import present_directory
from pipeline.publish.restoring import gone, outdated
from pipeline.recipe.model import Site
from pipeline.store.records import Version
from pipeline.store.store import Store


class Row(msgspec.Struct, frozen=True):
    """A version in the list. ``verified`` is None when it has not been tested; ``directory`` says whether it
    has one, ``mounted`` whether what is in it can be seen, ``outdated`` whether it is mounted of layers that
    are gone, ``gone`` whether it was copied and is not there any more, ``current`` whether the image's link
    points to it.
    """

    version: str
    created: float
    stages: int
    packages: int
    verified: bool | None
    directory: bool
    mounted: bool
    outdated: bool
    gone: bool
    current: bool
    tree: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.errors import UsageError
    from pipeline.nearest import nearest
    from pipeline.recipe.load import recipe_names
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    known = store.versions.images()
    unknown = [image for image in options.images if image not in known]
    if unknown:
        raise UsageError(
            f"there is no version of {', '.join(unknown)}",
            hint=f"there are versions of {', '.join(known) or 'no image'}{nearest(unknown[0], known)}",
            command=f"pipeline build {unknown[0]}"
            if unknown[0] in recipe_names(site)
            else "pipeline versions",
        )
    lost, old, copies = not_mounted(site, store), outdated(site, store), gone(site, store)
    rows = [
        _row(site, store, version, publication(store, image), lost, old, copies)
        for image in options.images or known
        for version in store.versions.all(image)
    ]
    if options.json:
        print(json.dumps({"versions": [asdict(row) for row in rows]}, indent=2))
        return 0
    tests = {None: "not tested", True: "passed", False: "not passed"}
    cells = [
        (
            row.version,
            when(row.created),
            str(row.stages),
            str(row.packages),
            tests[row.verified],
            _place(row),
        )
        for row in rows
    ]
    head = ("version", "made", "stages", "packages", "tests", "directory")
    print(table(head, cells, right=frozenset({2, 3})))
    return 0


def _place(row: Row) -> str:
    where = "published" if row.current else "kept" if row.directory else ""
    if not where or (row.mounted and not row.outdated):
        return where
    wrong = "MOUNTED OF LAYERS THAT ARE GONE" if row.outdated else "GONE" if row.gone else "NOT MOUNTED"
    return f"{where}, {wrong}: pipeline publish --restore"


def _row(
    site: Site,
    store: Store,
    version: Version,
    published: Publication,
    lost: tuple[Path, ...],
    old: tuple[Path, ...],
    copies: tuple[Path, ...],
) -> Row:
    number = version.number
    verification = store.versions.verification(version)
    place = present_directory(site, published, version.image, number)
    return Row(
        version=version.label,
        created=version.created,
        stages=len(version.stages),
        packages=len(version.packages),
        verified=None if verification is None else verification.passed,
        directory=number in published.directories,
        mounted=number in published.directories and place not in (*lost, *copies),
        outdated=number in published.directories and place in old,
        gone=number in published.directories and place in copies,
        current=number == published.current,
        tree=version.tree,
    )
