"""List the versions of images: which passed their tests, and which one is published."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

from pipeline.cli.text import table, when
from pipeline.publish.publication import Publication, publication
from pipeline.store.records import Version
from pipeline.store.store import Store


@dataclass(frozen=True)
class Row:
    """A version in the list. ``verified`` is None when it has not been tested; ``directory`` says whether it
    has one, ``current`` whether the image's link points to it."""

    version: str
    created: float
    stages: int
    packages: int
    verified: bool | None
    directory: bool
    current: bool
    tree: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.errors import UsageError
    from pipeline.recipe.site import load_site

    store = Store.open(load_site(options.site).store, create=False)
    known = store.versions.images()
    unknown = [image for image in options.images if image not in known]
    if unknown:
        raise UsageError(
            f"there is no version of {', '.join(unknown)}",
            hint=f"there are versions of {', '.join(known) or 'no image'}",
            command=f"pipeline build {unknown[0]}",
        )
    rows = [
        _row(store, version, publication(store, image))
        for image in options.images or known
        for version in store.versions.all(image)
    ]
    if options.json:
        print(json.dumps({"versions": [asdict(row) for row in rows]}, indent=2))
        return 0
    tests = {None: "not tested", True: "passed", False: "failed"}
    cells = [
        (
            row.version,
            when(row.created),
            str(row.stages),
            str(row.packages),
            tests[row.verified],
            "published" if row.current else "kept" if row.directory else "",
        )
        for row in rows
    ]
    head = ("version", "made", "stages", "packages", "tests", "directory")
    print(table(head, cells, right=frozenset({2, 3})))
    return 0


def _row(store: Store, version: Version, published: Publication) -> Row:
    verification = store.versions.verification(version)
    return Row(
        version=version.label,
        created=version.created,
        stages=len(version.stages),
        packages=len(version.packages),
        verified=None if verification is None else verification.passed,
        directory=version.number in published.directories,
        current=version.number == published.current,
        tree=version.tree,
    )
