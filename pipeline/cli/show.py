"""All about one version: stages, packages, kernel, tests, and what it was made of."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline.cli.show_signed import not_counting, signed_by, told_signatures
from pipeline.cli.text import seconds, size, table, when
from pipeline.errors import PipelineError
from pipeline.printable import on_one_line, plain
from pipeline.recipe.model import Site
from pipeline.sources.lock import LockedSource
from pipeline.store.compare import FileChange
from pipeline.store.content import changed
from pipeline.store.records import Verification, Version
from pipeline.store.store import Store
from pipeline.store.version_lock import damage, lock_of

Look = Callable[[Site, Store, Version], tuple[FileChange, ...]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="IMAGE[@N]", help="without @N the newest one")
    parser.add_argument("--packages", action="store_true", help="list every package")
    parser.add_argument("--log", metavar="STAGE", help="print what the programs of a stage printed")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.errors import UsageError
    from pipeline.publish.handedits import hand_edits, kept_edits
    from pipeline.publish.publication import publication
    from pipeline.publish.record import present_directory
    from pipeline.publish.restoring import not_mounted
    from pipeline.recipe.site import load_site
    from pipeline.sources.lock import read as read_lock

    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    version = store.versions.resolve(options.version)
    if options.log is not None:
        layer = next((stage.layer for stage in version.stages if stage.name == options.log), None)
        if layer is None:
            names = ", ".join(stage.name for stage in version.stages)
            raise UsageError(f"{version.label} has no stage {options.log!r}", hint=f"its stages are {names}")
        with store.layer_log(layer).open(errors="replace") as log:
            shutil.copyfileobj(log, sys.stdout)  # it may be longer than there is memory
        return 0
    verification = store.versions.verification(version)
    damaged = damage(store, version)
    signed, unreadable = signed_by(site, store, version)
    sources: tuple[LockedSource, ...] = ()
    with suppress(UsageError):  # what is wrong with the lock is told below
        lock = read_lock(lock_of(store, version))
        sources = lock.sources if lock is not None else ()
    published = publication(store, version.image)
    place = (
        present_directory(site, published, version.image, version.number)
        if version.number in published.directories
        else None
    )
    if options.json:
        document = {
            "version": version,
            "verification": verification,
            "sources": sources,
            "published": str(place) if place else None,
            "mounted": place is not None and place not in not_mounted(site, store),
            "hand_edits": _paths(hand_edits, site, store, version),
            "kept_edits": _paths(kept_edits, site, store, version),
            "current": published.current == version.number,
            "lost": changed(store, version),
            "damaged": damaged,
            "signatures": signed,
        }
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        return 0
    current = published.current == version.number
    told = told_signatures(site, signed)
    lines = _lines(version, verification, place, told, current=current, packages=options.packages)
    lost = changed(store, version)
    lines += ["", f"LOST: {lost}"] if lost else []
    lines += ["", f"DAMAGED: {damaged}"] if damaged else []
    lines += not_counting(signed, unreadable)
    lines += [*_sources(sources), *_edits(site, store, version, place), *_away(site, store, place)]
    print("\n".join(lines))
    return 0


def _lines(
    version: Version,
    verification: Verification | None,
    place: Path | None,
    signed: str,
    *,
    current: bool,
    packages: bool,
) -> list[str]:
    head = ("stage", "type", "seconds", "bytes", "files", "packages", "written at", "layer")
    rows = [
        (
            stage.name,
            stage.type,
            seconds(stage.seconds),
            size(stage.bytes),
            str(stage.files),
            f"+{len(stage.added)} -{len(stage.removed)}" if stage.added or stage.removed else "",
            stage.place,
            stage.layer,
        )
        for stage in version.stages
    ]
    facts = [
        ("made", when(version.created)),
        ("base", f"{version.base} {version.base_digest}"),
        ("kernel", version.kernel or "none"),
        ("kernel parameters", " ".join(version.kernel_parameters) or "none"),
        (
            "parameters",
            ", ".join(f"{name} = {value}" for name, value in version.parameters.items()) or "none",
        ),
        ("packages", str(len(version.packages))),
        ("recipe", version.recipe_digest),
        ("lock", version.lock_digest),
        ("tree", version.tree),
        ("tests", _tests(verification)),
        ("signed", signed),
        ("directory", f"{place}{' (published)' if current else ''}" if place else "none"),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [version.label, *(f"  {name.ljust(width)}  {on_one_line(value)}" for name, value in facts), ""]
    lines.append(table(head, rows, right=frozenset({2, 3, 4, 5})))
    notes = [f"  {stage.name}: {on_one_line(note)}" for stage in version.stages for note in stage.notes]
    if notes:
        lines += ["", "notes:", *notes]
    if verification is not None:
        bad = [
            f"  {on_one_line(test)} {how}: {plain(message)}"
            for test, how, _, message in verification.results
            if how != "passed"
        ]
        lines += ["", "tests that did not pass:", *bad] if bad else []
    if packages:
        lines += ["", "packages:", *(f"  {nevra}" for nevra in version.packages)]
    return lines


def _paths(look: Look, site: Site, store: Store, version: Version) -> list[str] | None:
    """What ``look`` finds; None when it cannot be found out."""
    try:
        return [change.path for change in look(site, store, version)]
    except PipelineError:
        return None


def _edits(site: Site, store: Store, version: Version, place: Path | None) -> list[str]:
    """What nodes get beside the version, and what its tests have not seen."""
    from pipeline.cli.diff import told_change
    from pipeline.publish.handedits import hand_edits, kept_edits, kept_in

    try:
        found, kept = hand_edits(site, store, version), kept_edits(site, store, version)
    except PipelineError as error:
        told = "; ".join(problem.message for problem in error.problems)
        return ["", f"what was changed by hand could not be found out: {told}"]
    where = f"not in {place}" if place else "mounted again when it is published"
    lines = ["", f"edited by hand in {place}:", *map(told_change, found)] if found else []
    if kept:
        upper = kept_in(site, store, version)
        lines += ["", f"edited by hand when it was mounted, kept in {upper}, {where}:"]
        lines += map(told_change, kept)
    return lines


def _away(site: Site, store: Store, place: Path | None) -> list[str]:
    """What is wrong with the mount."""
    from pipeline.publish.restoring import not_mounted, outdated

    lines: list[str] = []
    if place is not None and place in not_mounted(site, store):
        lines += ["", f"{place} is NOT MOUNTED, and empty: run pipeline publish --restore"]
    if place is not None and place in outdated(site, store):
        lines += ["", f"{place} is MOUNTED OF LAYERS THAT ARE GONE: run pipeline publish --restore"]
    return lines


def _sources(sources: tuple[LockedSource, ...]) -> list[str]:
    if not sources:
        return []
    return [
        "",
        "sources:",
        *(f"  sha256 {source.sha256}  {on_one_line(source.location)}" for source in sources),
    ]


def _tests(verification: Verification | None) -> str:
    if verification is None:
        return "not run"
    if not verification.results:
        return f"there are none, {when(verification.when)}"
    how = "passed" if verification.passed else "not passed"
    return f"{how}: {str(verification.tally).replace(' passed', '', 1)}, {when(verification.when)}"
