"""What must not grow with the size of an image: publishing, going back, starting; and importing, once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measuring import Row, Sample, in_turns, run, seconds, settle
from tests.bench.memory import peak_of_tree
from tests.bench.site import INSIDE, PIPELINE, BenchSite, make_site
from tests.bench.trees import Size, make_tree

INSIDE_LIMIT, PROCESS_LIMIT = 0.050, 0.250
IMPORT_LIMIT = 1.3
MEMORY_LIMIT = 200.0


def rows(work: Path, size: Size, count: int, slow: int, *, limits: bool) -> Iterator[Row]:
    """The figures for a base of ``size``: ``count`` runs, ``slow`` of what copies the tree.

    ``limits``: whether importing and memory are held to theirs, which are promised for the big base.
    """
    tree = work / "tree"
    make_tree(tree, size)
    yield from _importing(work, tree, size, slow, IMPORT_LIMIT if limits else None)
    site = make_site(work / "site", tree)
    site.write_recipe(["echo 1 > /etc/one"])
    memory = peak_of_tree([*PIPELINE, "build", "--no-publish"], site.path)
    limit = MEMORY_LIMIT if limits else None
    note = "import, one stage and its test; the largest process"
    yield Row(f"memory of a build, {size.name}", (memory.largest,), limit, unit="MB", note=note)
    note = "the same build; all its processes at one time (PSS)"
    yield Row(f"memory of a build in all, {size.name}", (memory.together,), limit, unit="MB", note=note)
    site.write_recipe(["echo 2 > /etc/one"])
    site.pipeline("build", "--no-publish")
    site.pipeline("publish", "image@1")
    try:
        yield from _turning(site, tree, size, count)
    finally:
        site.pipeline("unpublish", "image")


def _importing(work: Path, tree: Path, size: Size, count: int, limit: float | None) -> Iterator[Row]:
    copy, store = work / "copy", work / "import-store"

    def copied(argv: list[str], target: Path) -> Sample:
        settle()
        sample = run(["sh", "-c", '"$@" && sync -f "$0"', str(work), *argv], work)
        shutil.rmtree(target)
        return sample

    ours, cp = in_turns(
        count,
        lambda: copied([*INSIDE, "import_tree", str(store), str(tree)], store),
        lambda: copied(["cp", "-a", str(tree), str(copy)], copy),
    )
    rsync = copied(["rsync", "-a", f"{tree}/", f"{copy}/"], copy)  # once: it takes twice as long
    note = "from cold caches to all on the disk"
    yield Row(f"import, {size.name}", seconds(ours), limit, "cp -a", seconds(cp), note=note)
    yield Row(
        f"import, {size.name}", seconds(ours), None, "rsync -a", (rsync.seconds,), note=f"{note}; rsync once"
    )


def _turning(site: BenchSite, tree: Path, size: Size, count: int) -> Iterator[Row]:
    published, back = site.timed("publishing", str(site.file), "image", str(count))
    (started,) = site.timed("starting", str(site.file), str(count))
    site.pipeline("publish", "image@1")

    def publish() -> Sample:
        return site.pipeline("publish", "image@2")

    def rollback() -> Sample:
        sample = site.pipeline("rollback", "image")
        site.pipeline("unpublish", "image@2")
        return sample

    turns = [(publish(), rollback()) for _ in range(count)]
    shells = [site.pipeline("shell", "image@1", "--", "/bin/true") for _ in range(count)]
    for name, inside, whole in (
        ("publish", published, [turn[0] for turn in turns]),
        ("rollback", back, [turn[1] for turn in turns]),
        ("start /bin/true on it", started, shells),
    ):
        yield Row(f"{name}, {size.name}", tuple(inside), INSIDE_LIMIT, note="in itself")
        yield Row(f"{name}, {size.name}", seconds(whole), PROCESS_LIMIT, note="as a whole process")
    note = f"all {size.files:,} files looked at, as every build does"
    (looked,) = site.timed("unchanged", str(tree), str(count))
    yield Row(f"check that a base is unchanged, {size.name}", tuple(looked), None, note=note)
