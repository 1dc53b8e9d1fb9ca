"""Which versions may be published: those that have passed their tests, on bases that have."""

from __future__ import annotations

from pipeline.errors import Problem, UnverifiedError
from pipeline.store.records import Version
from pipeline.store.store import Store


def require_verified(store: Store, version: Version) -> None:
    """Raise ``UnverifiedError`` unless ``version`` passed its tests, and the images that it stands on theirs.

    Of a base that was removed meanwhile nothing is known any more: the version's own tests count then.
    """
    problems = []
    fault = _fault(store, version)
    if fault is not None:
        problems.append(
            Problem(
                f"{version.label} is not published: {fault}",
                hint="--unverified publishes it all the same",
                command=f"pipeline verify {version.label}",
            )
        )
    base = _unverified_base(store, version)
    if base is not None:
        why = f"its base {base.label} is not verified ({_fault(store, base)})"
        problems.append(
            Problem(
                f"{version.label} is not published: {why}",
                hint=f"it can be once {base.label} has passed; --unverified publishes it all the same",
                command=f"pipeline verify {base.label}",
            )
        )
    if problems:
        raise UnverifiedError(problems)


def _fault(store: Store, version: Version) -> str | None:
    verification = store.versions.verification(version)
    if verification is None:
        return "its tests have not been run"
    if verification.passed:
        return None
    if why := verification.nothing_passed:
        return f"of its tests {why}"
    return "its tests failed" if verification.results else "it has no tests"


def _unverified_base(store: Store, version: Version) -> Version | None:
    """The nearest base of ``version`` that is a version too and has not passed its tests."""
    if version.base_digest:  # a tree of the site, which has no tests
        return None
    layers = version.layers
    # Several versions can have the same layers, and differ in their parameters.
    bases = [base for base in store.versions.all(version.base) if layers[: len(base.layers)] == base.layers]
    if not bases:
        return None
    good = [base for base in bases if _fault(store, base) is None]
    return _unverified_base(store, good[-1]) if good else bases[-1]
