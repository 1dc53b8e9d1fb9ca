"""Who signed a version: what is signed, built from its records, and the signatures that are kept with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.store.filesystem import sync_directory, told, write_whole
from pipeline.store.naming import digest_of, identity
from pipeline.store.records import Verification, Version, read
from pipeline.store.sealed import broken_seal, sealed
from pipeline.store.store import Store

FORMAT = "pipeline-version 1"
"""The first line of a statement: what it is, and the number of its form."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature: ``signature`` of ``statement`` as ssh-keygen writes it, ``key`` the fingerprint
    (``SHA256:…``) of the key it was made with, and when it was kept, in seconds since 1970."""

    statement: str
    signature: str
    key: str
    when: float


class Kept(msgspec.Struct, frozen=True):
    """A signature and its file; or, without one, what is wrong with the file."""

    path: Path
    signature: Signature | None
    damage: Problem | None = None


def statement(store: Store, version: Version) -> str | None:
    """What whoever signs ``version`` signs; None when it has not passed its tests.

    One line for each thing, from the records as they are now: another content, other kernel parameters,
    another lock and other tests have another statement. How long tests took is not in it: the same tests,
    passed again, leave it as it is.
    """
    verification = store.versions.verification(version)
    if verification is None or not verification.passed:
        return None
    named = identity(version.image, version.tree, version.kernel_parameters, version.parameters)
    lines = (
        FORMAT,
        f"image {version.image}",
        f"number {version.number}",
        f"identity {named}",
        f"tree {version.tree}",
        f"lock {version.lock_digest}",
        f"tests passed {results_digest(verification)}",
    )
    return "".join(f"{line}\n" for line in lines)


def results_digest(verification: Verification) -> str:
    """The digest of which tests there were and how each ended."""
    ends = sorted((test, outcome) for test, outcome, _, _ in verification.results)
    return digest_of([verification.tests_digest, ends])


def differing(kept: str, now: str) -> str:
    """What a kept statement says otherwise than the one of now: ``tree, tests``."""
    names = ("form", "image", "number", "identity", "tree", "lock", "tests")
    one, other = kept.splitlines(), now.splitlines()
    if len(one) != len(other) or one[0] != other[0]:
        return "another form of statement"
    found = [name for name, old, new in zip(names, one, other, strict=True) if old != new]
    return ", ".join(found) or "white space"


def signed_directory(store: Store, version: Version) -> Path:
    """Where the signatures of ``version`` are, a file for each key; it may not exist."""
    return store.versions.directory(version).with_name(f"{version.number}.signed")


def file_of(store: Store, version: Version, key: str) -> Path:
    """Where the signature with ``key`` (a fingerprint) is kept."""
    name = key.removeprefix("SHA256:").replace("/", "_").replace("+", "-")
    return signed_directory(store, version) / f"{name}.json"


def signatures(store: Store, version: Version) -> tuple[Kept, ...]:
    """All that are kept with ``version``, by the names of their files."""
    return tuple(map(_read, sorted(signed_directory(store, version).glob("[!.]*.json"))))


def _read(path: Path) -> Kept:
    hint = f"remove it, and have the version signed again: rm {path}"
    try:
        found = read(path, Signature)
    except PipelineError as error:
        return Kept(path, None, Problem(error.problems[0].message, str(path), hint))
    except OSError as error:
        return Kept(path, None, Problem(f"the file cannot be read: {error}", str(path), hint))
    damage = broken_seal(path, hint)
    return Kept(path, None if damage else found, damage)


def keep(store: Store, version: Version, signature: Signature) -> Path:
    """Keep a signature, in place of one with the same key. Returns its file."""
    folder = signed_directory(store, version)
    path = file_of(store, version, signature.key)
    with told(f"the signature of {version.label} cannot be kept", path):
        if not folder.is_dir():
            folder.mkdir(mode=0o755, exist_ok=True)
            sync_directory(folder.parent)
        # Stopped here: the folder is empty, which means not signed; the file appears by one rename.
        write_whole(path, sealed(signature))
    return path


def check_signatures(store: Store, version: Version) -> Iterator[Problem]:
    """Signatures that are damaged, or do not fit their version any more."""
    now = statement(store, version)
    for kept in signatures(store, version):
        if kept.damage is not None:
            yield kept.damage
        elif kept.signature is not None and kept.signature.statement != now:
            yield unfit(version, kept, now)


def unfit(version: Version, kept: Kept, now: str | None) -> Problem:
    """That a kept signature is of something else than ``version`` is; ``now`` is its statement."""
    again = f"look at what changed, and sign it again, or remove the signature: rm {kept.path}"
    if now is None:
        why, command = "the version has not passed its tests", f"pipeline verify {version.label}"
    else:
        was = kept.signature.statement if kept.signature else ""
        why, command = f"it signs another {differing(was, now)}", f"pipeline sign {version.label} --statement"
    told = f"the signature does not fit {version.label} any more: {why}"
    return Problem(told, str(kept.path), again, command)
