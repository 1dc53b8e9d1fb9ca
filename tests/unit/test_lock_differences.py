from __future__ import annotations

from pipeline.errors import Problem
from pipeline.sources.differences import Wanted, WantedPackages, WantedSource, differences, renewable
from pipeline.sources.lock import Lock, LockedBase, LockedSource, LockedStage
from pipeline.stages.base import PackageAnswer, PackageRequest, SourceRequest

A, B = "a" * 64, "b" * 64


def never() -> str:
    raise AssertionError("the place of what does not differ was looked up")


def source(
    location: str, sha256: str | None = None, *, line: int | None = None, found: str | None = None
) -> WantedSource:
    return WantedSource(SourceRequest(location, sha256), at(line) if line else never, found)


def packages(name: str, *install: str, line: int | None = None) -> WantedPackages:
    return WantedPackages(name, PackageRequest(install=install), at(line) if line else never)


def at(line: int):  # type: ignore[no-untyped-def]
    return lambda: f"recipes/x/recipe.toml:{line}"


def locked(name: str, *install: str) -> LockedStage:
    return LockedStage(name, PackageRequest(install=install), PackageAnswer())


def wanted(
    *,
    base: str = "b",
    digest: str | None = None,
    sources: tuple[WantedSource, ...] = (),
    stages: tuple[WantedPackages, ...] = (),
    line: int | None = None,
) -> Wanted:
    return Wanted("x", "recipe.lock", base, digest, at(line) if line else never, sources, stages)


LOCK = Lock(
    base=LockedBase("b", A, 0),
    sources=(LockedSource("http://h/one", A, 1), LockedSource("two", B, 1)),
    stages=(locked("first", "p", "q"), locked("second", "r"), locked("third", "s")),
)
STAGES = (packages("first", "p", "q"), packages("second", "r"), packages("third", "s"))
SOURCES = (source("http://h/one", A), source("two", found=B))


def told(problems: tuple[Problem, ...]) -> list[str]:
    if problems:
        assert problems[-1].command == "pipeline lock x"
    return [f"{problem.where}: {problem.message}" for problem in problems]


def test_a_lock_that_fits_has_no_difference_and_no_line_is_looked_up() -> None:
    same = wanted(digest=A, sources=SOURCES, stages=STAGES)
    assert differences(LOCK, same) == ()
    assert renewable(LOCK, same).sources == LOCK.sources
    assert renewable(LOCK, same).stages == LOCK.stages


def test_the_order_of_names_in_a_request_does_not_count() -> None:
    stages = (packages("first", "q", "p"), *STAGES[1:])
    assert differences(LOCK, wanted(sources=SOURCES, stages=stages)) == ()


def test_a_package_more_and_one_less_are_told_with_the_line_of_the_recipe() -> None:
    stages = (STAGES[0], packages("second", "mlnxvif", line=31), STAGES[2])
    now = wanted(sources=SOURCES, stages=stages)
    assert told(differences(LOCK, now)) == [
        'recipes/x/recipe.toml:31: stage "second" asks to install "mlnxvif", recipe.lock does not hold it',
        'recipes/x/recipe.toml:31: stage "second" does not ask to install "r" any more, recipe.lock holds it',
    ]
    assert renewable(LOCK, now).stages == LOCK.stages[:1], "later answers rest on what the stage installed"
    assert renewable(LOCK, now).sources == LOCK.sources


def test_another_base_is_told_and_no_stage_holds() -> None:
    now = wanted(base="c", sources=SOURCES, stages=STAGES, line=3)
    assert told(differences(LOCK, now)) == [
        'recipes/x/recipe.toml:3: the base is "c", recipe.lock was made for "b"'
    ]
    assert renewable(LOCK, now).stages == ()


def test_a_base_that_changed_is_told_with_both_digests() -> None:
    now = wanted(digest=B, sources=SOURCES, stages=STAGES, line=3)
    [text] = told(differences(LOCK, now))
    assert text.endswith(f'the base "b" has changed since recipe.lock was made: locked digest {A}, now {B}')
    assert renewable(LOCK, now).stages == ()
    assert renewable(LOCK, now).sources == LOCK.sources


def test_sources_that_are_new_pinned_otherwise_changed_or_left_over_are_told() -> None:
    now = wanted(
        sources=(
            source("http://h/one", B, line=7),
            source("http://h/new", line=8),
        ),
        stages=STAGES,
    )
    assert told(differences(LOCK, now)) == [
        f'recipes/x/recipe.toml:7: the source "http://h/one" is pinned to sha256 {B}, recipe.lock holds {A}',
        'recipes/x/recipe.toml:8: the source "http://h/new" is asked for, recipe.lock does not hold it',
        'recipe.lock: holds the source "two", which the recipe does not ask for',
    ]
    assert renewable(LOCK, now).sources == ()
    changed = wanted(sources=(SOURCES[0], source("two", found=A, line=9)), stages=STAGES)
    [text] = told(differences(LOCK, changed))
    assert text.startswith('recipes/x/recipe.toml:9: the source "two" has changed since recipe.lock was made')
    assert text.endswith(f"locked sha256 {B}, now {A}")
    assert renewable(LOCK, changed).sources == LOCK.sources[:1]


def test_stages_that_are_new_or_gone_are_told() -> None:
    now = wanted(sources=SOURCES, stages=(STAGES[0], packages("new", "n", line=12), STAGES[2]))
    assert told(differences(LOCK, now)) == [
        'recipes/x/recipe.toml:12: stage "new" changes packages, recipe.lock does not hold them',
        'recipe.lock: holds packages of a stage "second", which the recipe does not have',
    ]
    assert renewable(LOCK, now).stages == LOCK.stages[:1]


def test_stages_in_another_order_are_told_once() -> None:
    now = wanted(sources=SOURCES, stages=(STAGES[0], packages("third", "s", line=20), STAGES[1]))
    assert told(differences(LOCK, now)) == [
        'recipes/x/recipe.toml:20: stage "third" comes where recipe.lock has stage "second"'
    ]
    assert renewable(LOCK, now).stages == LOCK.stages[:1]
