"""Parts of the program in a process of their own: ``python -m tests.bench.inside WHAT …``.

What is timed inside is printed as JSON: a list of seconds for each thing that was.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.cli import GARBAGE_AFTER, leave
from pipeline.events import ignore
from pipeline.recipe.site import load_site


def build(site_file: str) -> None:
    """Build all images without testing and publishing them: what ``buildah build`` does."""
    gc.set_threshold(GARBAGE_AFTER)  # as the command does
    from pipeline.build.job import BuildOptions
    from pipeline.build.session import build

    options = BuildOptions(locked=False, verify=False, publish=False)
    outcomes = build(load_site(Path(site_file)), (), options, ignore, None)
    for outcome in outcomes:
        for problem in outcome.problems:
            print(problem.message, problem.hint)
    if any(outcome.exit_code for outcome in outcomes):
        sys.exit(1)


def import_tree(store: str, path: str) -> None:
    """Import ``path`` as the base ``tree``."""
    from pipeline.store.importing import import_base
    from pipeline.store.store import Store

    import_base(Store.open(Path(store)), "tree", Path(path), ignore)


def publishing(site_file: str, image: str, count: str) -> list[list[float]]:
    """Publish ``image@2`` while ``image@1`` is published, and roll back: seconds of each."""
    from pipeline.publish.publication import publish, rollback
    from pipeline.publish.unpublishing import unpublish
    from pipeline.store.store import Store

    site = load_site(Path(site_file))
    store = Store.open(site.store)
    first, second = (store.versions.resolve(f"{image}@{number}") for number in (1, 2))
    publish(site, store, first)
    taken = []
    for _ in range(int(count)):
        there = timed(lambda: publish(site, store, second))
        back = timed(lambda: rollback(site, store, image))
        unpublish(site, store, image, 2)
        taken.append((there, back))
    unpublish(site, store, image, None)
    return [[there for there, _ in taken], [back for _, back in taken]]


def starting(site_file: str, count: str) -> list[list[float]]:
    """Enter a new root on the imported base, run ``/bin/true`` there, and leave: seconds."""
    from pipeline.chroot.enter import enter
    from pipeline.chroot.root import RootSpec
    from pipeline.store.store import Store

    store = Store.open(load_site(Path(site_file)).store)
    base = store.base("tree")
    assert base is not None

    def start() -> None:
        with store.begin((base.layer,)) as work:
            spec = RootSpec(layers=(store.layer_tree(base.layer),), upper=work.upper, work=work.work)
            with enter(spec) as root:
                root.run(["/bin/true"])

    return [[timed(start) for _ in range(int(count))]]


def unchanged(path: str, count: str) -> list[list[float]]:
    """See that a base is as it was when it was imported: seconds."""
    from pipeline.store.fingerprint import fingerprint

    return [[timed(lambda: fingerprint(Path(path))) for _ in range(int(count))]]


def timed(function: Callable[[], object]) -> float:
    """How long a call took, in seconds."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


WHAT = {function.__name__: function for function in (build, import_tree, publishing, starting, unchanged)}

if __name__ == "__main__":
    print(json.dumps(WHAT[sys.argv[1]](*sys.argv[2:])))
    leave(0)  # as the command does
