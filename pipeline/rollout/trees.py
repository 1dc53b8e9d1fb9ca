"""Whether a version's directory is there and complete, wherever nodes are installed from."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.cluster import fanout
from pipeline.cluster.head import Head
from pipeline.errors import PipelineError
from pipeline.publish.directories import OVERLAY, edits
from pipeline.publish.record import publication
from pipeline.recipe.model import Site
from pipeline.rollout import listing
from pipeline.rollout.ignoring import matcher
from pipeline.rollout.model import Finding, Target
from pipeline.store.records import Version
from pipeline.store.store import Store

BY_MANAGER = ("boot/initr*", "lib/modules/*/modules.*", "usr/lib/modules/*/modules.*", "etc/mtab")
"""What a cluster manager writes into the directory of an image when it makes the ramdisk of its nodes."""

FEW = 5
"""So many paths are named before the rest is counted."""

THERE = r"""
for path; do test -d "$path" && echo yes || echo no; done
"""
"""For a shell: whether each of its arguments is a directory."""


class Tree(msgspec.Struct, frozen=True):
    """What the directory of a target has to hold: ``records`` as ``listing`` has them."""

    target: Target
    records: tuple[bytes, ...]
    digest: str


def tree(store: Store, target: Target, version: Version) -> Tree:
    """What there has to be for ``target``."""
    records = tuple(listing.records_of(store, version))
    return Tree(target, records, listing.digest(records))


def published(store: Store, target: Target) -> Sequence[Finding]:
    """What the store knows of its publication that is wrong."""
    if target.version in publication(store, target.image).directories:
        return ()
    return [Finding("error", "it is not published", str(target), "", f"pipeline publish {target}")]


def on_head(
    site: Site, store: Store, head: Head, trees: Iterable[Tree], ignore: Sequence[str]
) -> list[Finding]:
    """What is missing or otherwise in the directories on the head node, as it sees them."""
    found: list[Finding] = []
    for each in trees:
        path = _seen(head, each.target.path)
        digest = _run(head, listing.DIGEST, path).strip()
        if digest == listing.NONE:
            found.append(_absent(site, head, each.target))
        elif digest != each.digest:
            text = _run(head, listing.LIST, path)
            found += _told(store, each, text.split("\0")[:-1], ignore)
    return found


def lost(head: Head, targets: Iterable[Target]) -> list[Target]:
    """Those whose directory is not on the head node any more."""
    known = tuple(targets)
    if not known:
        return []
    answers = _run(head, THERE, *(_seen(head, target.path) for target in known)).split()
    return [target for target, answer in zip(known, answers, strict=True) if answer != "yes"]


def listed(head: Head, path: str) -> list[bytes] | None:
    """What the directory ``path`` holds now, as the head node has it; None: there is none.

    Raises ``PipelineError`` when that can't be known.
    """
    try:
        return listing.unpacked(_run(head, listing.PACKED, _seen(head, path)))
    except ValueError as error:
        raise PipelineError(f"what {path} holds came damaged: {error}", where=head.label) from None


def on_provisioners(
    trees: Iterable[Tree], nodes: Sequence[fanout.Target], way: fanout.Way
) -> dict[str, tuple[str, ...]]:
    """Of provisioning nodes that have not all of it: what each lacks. One ssh for each node."""
    known = tuple(trees)
    if not nodes or not known:
        return {}
    script = "; ".join(shlex.join(["sh", "-c", listing.DIGEST, "sh", each.target.path]) for each in known)
    heard = Heard()
    with tempfile.TemporaryDirectory(prefix="pipeline-provisioners-") as folder:
        fanout.run(script, nodes, way, Path(folder), heard)
    found: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        told = tuple(_provisioner(known, heard.lines.get(node.name, []), heard.codes.get(node.name)))
        if told:
            found[node.name] = told
    return found


def _provisioner(trees: Sequence[Tree], lines: Sequence[str], code: int | None) -> Iterable[str]:
    if code != 0 or len(lines) < len(trees):
        last = lines[-1] if lines else "it said nothing"
        yield f"could not be looked into ({'no answer in time' if code is None else last})"
        return
    for each, line in zip(trees, lines[-len(trees) :], strict=True):
        if line == listing.NONE:
            yield f"has no {each.target.path} yet"
        elif line != each.digest:
            yield f"has another {each.target.path}"


def _run(head: Head, script: str, *arguments: str) -> str:
    ran = head.run(("sh", "-c", script, "sh", *arguments), seconds=head.answer_seconds)
    if ran.code:
        last = (ran.err.strip() or "it said nothing").splitlines()[-1]
        raise PipelineError(f"images cannot be looked into: {last}", where=head.label)
    return ran.out


def _seen(head: Head, path: str) -> str:
    """Where the head node's ``path`` is for programs that are run there."""
    return path if head.address else f"{head.root.rstrip('/')}{path}"


def _absent(site: Site, head: Head, target: Target) -> Finding:
    hint = "publish it"
    if head.address:
        hint = f"publish it where the head node sees it: {site.file.name} says images = {str(site.images)!r}"
    return Finding(
        "error",
        f"{head.label}: there is no directory {target.path}",
        str(target),
        hint,
        f"pipeline publish {target}",
    )


def _told(store: Store, tree: Tree, lines: Sequence[str], ignore: Sequence[str]) -> list[Finding]:
    ignored = matcher((*BY_MANAGER, *ignore))
    # Names that are no UTF-8 came over a text channel: both sides are compared as it shows them.
    wanted = [each.decode(errors="replace").encode() for each in tree.records]
    differences = [
        each
        for each in listing.differences(wanted, (line.encode() for line in lines))
        if not ignored.match(each.path.lstrip("/"))
    ]
    wrong = [each for each in differences if each.how != "extra"]
    extra = [each for each in differences if each.how == "extra"]
    hint = _hint(store, tree.target)
    found = []
    if wrong:
        found.append(
            Finding("error", f"{tree.target.path} is not the version: {_some(wrong)}", str(tree.target), hint)
        )
    if extra:
        told = f"{tree.target.path} has what the version has not: {_some([each.path for each in extra])}"
        found.append(Finding("warning", told, str(tree.target), hint))
    return found


def _hint(store: Store, target: Target) -> str:
    upper = edits(store, Path(target.path)) / "upper"
    mode = publication(store, target.image).directories.get(target.version)
    if mode == OVERLAY and upper.is_dir() and os.listdir(upper):
        return f"it was changed by hand since it was published, and what was is in {upper}"
    return f"pipeline show {target} lists it; unpublish and publish it; what is to stay belongs in the recipe"


def _some(things: Sequence[object]) -> str:
    more = f" and {len(things) - FEW} more" if len(things) > FEW else ""
    return "; ".join(str(each) for each in things[:FEW]) + more


class Heard:
    """What nodes printed, and how each ended; None: its time was over."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.codes: dict[str, int | None] = {}

    def started(self, node: str) -> None:
        self.lines[node] = []

    def line(self, node: str, line: bytes) -> None:
        self.lines.setdefault(node, []).append(line.decode(errors="replace"))

    def ended(self, node: str, code: int) -> None:
        self.codes[node] = code

    def timed_out(self, node: str) -> None:
        self.codes[node] = None


def provisioner_findings(lacking: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    """What provisioning nodes lack, before a rollout has them take it over."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, told in lacking.items():
        alike.setdefault(told, []).append(name)
    from pipeline.cluster.nodesets import folded

    return [
        Finding(
            "warning",
            f"this provisioning node {'; '.join(told)}",
            folded(names),
            "the rollout has its provisioning nodes take the image over before the first node is rebooted",
        )
        for told, names in alike.items()
    ]
