"""From what a stage left in its upper directory to a layer that only has to be given its name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.errors import PipelineError, Problem
from pipeline.removing import remove_tree
from pipeline.store import hardlinks, manifest, seal
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.records import Summary
from pipeline.store.tree import Entry, entries
from pipeline.store.work import Work


def make_layer(work: Work, trees: Sequence[Path], epoch: int, shims: Mapping[str, str]) -> Summary:
    """Bring ``work.upper`` into the state of a layer on ``trees`` (lowest first), and write its manifest.

    ``epoch`` and ``shims`` are those of ``Store.commit``. Raises ``PipelineError`` for copies of shims.
    """
    index = work.work / "index"
    if index.is_dir() and os.listdir(index):
        groups = [hardlinks.read_groups(tree.parent / "links.json") for tree in trees]
        hardlinks.complete(work.upper, index, trees, groups)
    remove_tree(work.work)  # its links would count as names of the layer's files
    seal.put_back(work.upper, trees, shims)
    seal.drop_unwanted(work.upper, trees)
    digests = seal.settle(work.upper, trees, work.earliest, epoch)
    return _write_manifest(work, shims, digests)


def _write_manifest(work: Work, shims: Mapping[str, str], digests: Mapping[int, str]) -> Summary:
    stands_for = {sha256: path for path, sha256 in shims.items()}
    copies: list[Problem] = []

    def checked(root: int) -> Iterator[Entry]:
        for entry, _ in entries(root, digests):
            if entry.sha256 in stands_for:
                copies.append(
                    Problem(
                        f"the stage made a copy of the stand-in for {stands_for[entry.sha256]}",
                        where="/" + entry.path,
                        hint="copy or move that program in another way than from within the image",
                    )
                )
            yield entry

    root = os.open(work.upper, DIRECTORY)
    try:
        summary = manifest.write(work.path / "manifest.gz", checked(root))
    finally:
        os.close(root)
    if copies:
        raise PipelineError(copies)
    return summary
