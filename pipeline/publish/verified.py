"""Which versions may be published: those that have passed their tests, on bases that have."""

from __future__ import annotations

from pipeline.errors import Problem, UnverifiedError
from pipeline.store.records import Version
from pipeline.store.store import Store


def faults(store: Store, version: Version) -> tuple[tuple[Version, str], ...]:
    """Why ``version`` is not verified: itself, and the nearest image that it stands on; each with why.

    Of a base that was removed meanwhile nothing is known any more: the version's own tests count then.
    """
    found = []
    fault = _fault(store, version)
    if fault is not None:
        found.append((version, fault))
    base = _unverified_base(store, version)
    if base is not None:
        found.append((base, f"its base {base.label} is not verified ({_fault(store, base)})"))
    return tuple(found)


def require_verified(store: Store, version: Version) -> None:
    """Raise ``UnverifiedError`` with all ``faults`` of ``version``."""
    problems = []
    for at, why in faults(store, version):
        hint = "--unverified publishes it all the same"
        if at is not version:
            hint = f"it can be once {at.label} has passed; {hint}"
        told = f"{version.label} is not published: {why}"
        problems.append(Problem(told, hint=hint, command=f"pipeline verify {at.label}"))
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
