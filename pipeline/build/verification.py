"""Testing a version, once for each state of its tests."""

from __future__ import annotations

from pipeline.events import Lines, Observer, StageStarted
from pipeline.printable import plain
from pipeline.recipe.model import Recipe
from pipeline.store.presence import entered
from pipeline.store.records import Verification, Version
from pipeline.store.store import Store
from pipeline.verify.digest import tests_digest

STAGE = "tests"
"""How the tests are called where stages are shown."""


def kept_verification(store: Store, recipe: Recipe, version: Version) -> Verification | None:
    """That the tests of ``version`` passed, unless they or what runs them have changed since.

    What did not pass is tested again: pytest may have been killed, or the machine short of something.
    """

    kept = store.versions.verification(version)
    if kept is None or not kept.passed or kept.tests_digest != tests_digest(recipe.tests):
        return None
    return kept


def verify_once(store: Store, recipe: Recipe, version: Version, observer: Observer) -> Verification:
    """How the tests of ``version`` end: as they did, or they are run now."""
    kept = kept_verification(store, recipe, version)
    return kept if kept is not None else verify(store, recipe, version, observer)


def verify(store: Store, recipe: Recipe, version: Version, observer: Observer) -> Verification:
    """Run the tests of ``recipe`` in the chroot of ``version`` and keep the results with it."""
    from pipeline.chroot.enter import enter
    from pipeline.chroot.root import RootSpec
    from pipeline.store.content import require_content
    from pipeline.verify.runner import ImageFacts, run_tests

    require_content(store, version)
    observer(StageStarted(image=version.image, stage=STAGE, what="testing"))
    facts = ImageFacts(
        name=version.image,
        number=version.number,
        kernel=version.kernel,
        kernel_parameters=version.kernel_parameters,
        parameters=version.parameters,
    )

    def hear(text: str) -> None:
        observer(Lines(image=version.image, stage=STAGE, text=plain(text)))

    spec = RootSpec(layers=tuple(map(store.layer_tree, version.layers)))
    with entered(store.versions.directory(version)), store.begin() as work:
        out = work.path / "reports"
        with enter(spec) as root:
            verification = run_tests(recipe.tests, root, facts, out, hear)
        files = {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}
        store.versions.set_verification(version, verification, files)
    return verification
