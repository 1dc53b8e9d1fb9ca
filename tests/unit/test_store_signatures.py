"""What is signed of a version, and the signatures that the store keeps with it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.store.records import Verification, Version
from pipeline.store.sealed import sealed
from pipeline.store.signatures import (
    Signature,
    check_signatures,
    keep,
    signatures,
    signed_directory,
    statement,
)
from pipeline.store.store import Store
from tests.small_store import add_version, commit_layer

PASSED = Verification(
    passed=True, tests_digest="t", when=1.0, seconds=1.0, results=(("test_a", "passed", 0.1, ""),)
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def version(store: Store) -> Version:
    commit_layer(store, "a" * 64, lambda upper: (upper / "file").write_text("x"))
    made = add_version(store, ["a" * 20])
    store.versions.set_verification(made, PASSED, {})
    return made


def signed(store: Store, version: Version, key: str = "SHA256:a/b+c") -> Path:
    text = statement(store, version)
    assert text is not None
    return keep(store, version, Signature(statement=text, signature="s", key=key, when=1.0))


def rewritten(store: Store, version: Version) -> Version:
    (store.versions.directory(version) / "version.json").write_bytes(sealed(version))
    return version


def test_a_statement_is_text_of_a_known_form(store: Store, version: Version) -> None:
    text = statement(store, version)
    assert text is not None
    lines = text.splitlines()
    assert lines[:3] == ["pipeline-version 1", "image web", "number 1"]
    assert lines[4:6] == [f"tree {version.tree}", f"lock {version.lock_digest}"]
    assert [line.split()[0] for line in lines[3:]] == ["identity", "tree", "lock", "tests"]


def test_of_a_version_that_has_not_passed_there_is_nothing_to_sign(store: Store, version: Version) -> None:
    for record in (replace(PASSED, passed=False), replace(PASSED, results=())):
        store.versions.set_verification(version, record, {})
        assert statement(store, version) is None


def test_the_same_tests_passed_again_leave_the_statement(store: Store, version: Version) -> None:
    before = statement(store, version)
    again = replace(PASSED, when=9.0, seconds=9.0, results=(("test_a", "passed", 9.9, ""),))
    store.versions.set_verification(version, again, {})
    assert statement(store, version) == before


@pytest.mark.parametrize(
    ("differs", "of_version", "of_tests"),
    [
        ("identity, tree", {"tree": "0" * 64}, {}),
        ("identity", {"kernel_parameters": ("init=/bin/sh",)}, {}),
        ("identity", {"parameters": {"a": 1}}, {}),
        ("lock", {"lock_digest": "0" * 64}, {}),
        ("tests", {}, {"tests_digest": "other"}),
        ("tests", {}, {"results": (("test_b", "passed", 0.1, ""),)}),
        ("tests", {}, {"results": (*PASSED.results, ("test_b", "skipped", 0.1, "why"))}),
    ],
)
def test_a_signature_of_what_was_something_else_does_not_fit(
    store: Store, version: Version, differs: str, of_version: dict[str, object], of_tests: dict[str, object]
) -> None:
    path = signed(store, version)
    assert list(check_signatures(store, version)) == []
    changed = rewritten(store, replace(version, **of_version))
    store.versions.set_verification(changed, replace(PASSED, **of_tests), {})
    (problem,) = check_signatures(store, changed)
    assert problem.message == f"the signature does not fit web@1 any more: it signs another {differs}"
    assert (problem.where, problem.command) == (str(path), "pipeline sign web@1 --statement")


def test_a_signature_does_not_fit_a_version_whose_tests_fail_by_now(store: Store, version: Version) -> None:
    signed(store, version)
    store.versions.set_verification(version, replace(PASSED, passed=False), {})
    (problem,) = check_signatures(store, version)
    assert problem.message.endswith("any more: the version has not passed its tests")
    assert problem.command == "pipeline verify web@1"


def test_each_key_has_a_file_and_the_same_key_one(store: Store, version: Version) -> None:
    for key in ("SHA256:a/b+c", "SHA256:other", "SHA256:a/b+c"):
        signed(store, version, key)
    assert sorted(os.listdir(signed_directory(store, version))) == ["a_b-c.json", "other.json"]
    assert [kept.signature and kept.signature.key for kept in signatures(store, version)] == [
        "SHA256:a/b+c",
        "SHA256:other",
    ]
    assert store.versions.numbers("web") == (1,)


@pytest.mark.parametrize("how", ["other text", "no record", "half"])
def test_a_file_that_was_changed_counts_for_nothing_and_is_named(
    store: Store, version: Version, how: str
) -> None:
    path = signed(store, version)
    if how == "other text":
        path.write_text(json.dumps({**json.loads(path.read_text()), "signature": "of somebody"}))
    else:
        path.write_text("{}" if how == "no record" else path.read_text()[:20])
    (kept,) = signatures(store, version)
    assert kept.signature is None
    (problem,) = check_signatures(store, version)
    assert problem.where == str(path) and f"rm {path}" in str(problem.hint)


def test_what_was_cut_off_while_it_was_written_is_not_read(store: Store, version: Version) -> None:
    path = signed(store, version)
    path.rename(path.with_name(f".{path.name}.1234"))
    assert signatures(store, version) == () and list(check_signatures(store, version)) == []
