"""Signing a version: with a key, or by a signature that was made elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem, UnverifiedError, UsageError
from pipeline.publish.verified import faults
from pipeline.signing import keygen
from pipeline.signing.armor import parse
from pipeline.store.check_records import check_version
from pipeline.store.content import torn
from pipeline.store.records import Version
from pipeline.store.signatures import Signature, file_of, keep, signatures, statement
from pipeline.store.store import Store


class Made(msgspec.Struct, frozen=True):
    """A signature that is kept now. ``changed`` is False when it was before."""

    key: str
    file: Path
    changed: bool


def to_be_signed(store: Store, version: Version) -> str:
    """The statement of ``version``. Raises ``PipelineError`` with all that stands against signing it."""
    unverified = tuple(_unverified(store, version))
    damaged = (*check_version(store, version.image, version.number), *torn(store, version))
    text = statement(store, version)
    if unverified or text is None:
        raise UnverifiedError((*unverified, *damaged))
    if damaged:
        raise PipelineError(damaged)
    return text


def _unverified(store: Store, version: Version) -> Iterator[Problem]:
    for at, why in faults(store, version):
        hint = (
            "its tests are part of what is signed" if at is version else "what it stands on is signed with it"
        )
        yield Problem(f"{version.label} is not signed: {why}", None, hint, f"pipeline verify {at.label}")


def sign(store: Store, version: Version, key: Path) -> Made:
    """Sign ``version`` with ``key``, and keep the signature."""
    text = to_be_signed(store, version)
    return _kept(store, version, text, keygen.sign(key, text), str(key))


def accept(store: Store, version: Version, signature: str, where: str) -> Made:
    """Keep a signature of ``version`` that was made elsewhere; ``where`` is where it is from."""
    return _kept(store, version, to_be_signed(store, version), signature, where)


def _kept(store: Store, version: Version, text: str, signature: str, where: str) -> Made:
    armored = parse(signature, where)
    again = f"pipeline sign {version.label} --statement >statement"
    if armored.namespace != keygen.NAMESPACE:
        raise UsageError(
            f'the signature was made for another purpose: expected the namespace "{keygen.NAMESPACE}", '
            f'got "{armored.namespace}"',
            where=where,
            hint=f"ssh-keygen -Y sign -n {keygen.NAMESPACE} -f KEY statement",
            command=again,
        )
    if not keygen.is_of(text, armored.text):
        raise PipelineError(
            f"it is not a signature of {version.label}: it is of other content, or was changed",
            where=where,
            hint="sign the statement as it is printed, byte for byte",
            command=again,
        )
    made = Signature(statement=text, signature=armored.text, key=armored.key, when=time.time())
    path = file_of(store, version, made.key)
    for kept in signatures(store, version):
        old = kept.signature
        if (
            kept.path == path
            and old is not None
            and old.statement == text
            and keygen.is_of(text, old.signature)
        ):
            return Made(made.key, path, False)
    return Made(made.key, keep(store, version, made), True)
