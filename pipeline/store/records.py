"""What the store writes down about layers and versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pipeline.errors import PipelineError

T = TypeVar("T")

EXPECTED_TO_FAIL = "expected to fail"
"""What the message of such a test begins with."""


def stack_digest(layers: Iterable[str]) -> str:
    """The digest of an image: of the digests of its layers' manifests, lowest first."""
    return hashlib.sha256("".join(f"{digest}\n" for digest in layers).encode()).hexdigest()


def read(path: Path, kind: type[T]) -> T | None:
    """The record in the file ``path``; None when there is no file. A damaged one is a ``PipelineError``."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise PipelineError(
            f"the file is damaged: {error}", where=str(path), command="pipeline fsck"
        ) from None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever ran a stage knows of its layer; the store adds the rest. The fields are ``Layer``'s."""

    key: str
    image: str
    stage: str
    type: str
    notes: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kernel: str | None = None
    basis: dict[str, Any] = {}


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage changed over its parent; the file ``layer.json`` beside ``tree`` and ``manifest.gz``.

    ``key`` is the digest of everything the result depends on, ``digest`` the one of the manifest (sha256,
    64 hex digits). ``parent`` is the name of the layer below. ``created`` is in seconds since 1970,
    ``seconds`` from the beginning of the stage to the end of its commit. ``bytes`` counts the content of
    regular files once, ``files`` every entry but the root. ``added`` and ``removed`` are NEVRAs. ``kernel``
    is the kernel release of the image up to this layer. ``below`` is the ``stack_digest`` of what it was made
    on; None for a base, and in records of old releases.
    """

    key: str
    digest: str
    image: str
    stage: str
    type: str
    parent: str | None
    created: float
    seconds: float
    bytes: int
    files: int
    notes: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kernel: str | None = None
    below: str | None = None
    basis: dict[str, Any] = {}
    """What the key was made of, by name, so that a miss can be explained."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A stage that failed; ``failure.json`` beside what is left of it. ``layers`` are names, lowest first."""

    image: str
    stage: str
    key: str
    layers: tuple[str, ...]
    message: str
    when: float


class Failed(msgspec.Struct, frozen=True):
    """A kept failure: ``upper`` is what the stage had changed, overlayfs's marks included."""

    failure: Failure
    upper: Path
    work: Path
    log: Path


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest comes to.

    ``digest`` is the sha256 of its lines before compression; ``bytes`` counts the content of regular files
    once, ``files`` every entry but the root; ``newest`` is the highest mtime in seconds, rounded up, of those
    that are not in the future; ``ahead`` the path with the one furthest in the future, if any. ``links`` are
    the paths of each file that has several names, in order.
    """

    digest: str
    bytes: int
    files: int
    newest: int
    ahead: str | None
    links: tuple[tuple[str, ...], ...]


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """An imported base tree. ``fingerprint`` says whether the directory changed since (stat data only).

    ``digest`` is the digest of its manifest; ``epoch`` the time before which nothing is that stages write, in
    seconds (``seal.epoch_of``); ``packages`` the NEVRA of all that are installed in it, None when nobody has
    looked.
    """

    name: str
    path: str
    fingerprint: str
    digest: str
    layer: str
    epoch: int
    bytes: int
    files: int
    packages: tuple[str, ...] | None = None


class StageOfVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One stage as it stands in a version; the layer of the same key holds its tree and its log."""

    name: str
    type: str
    key: str
    layer: str
    digest: str
    seconds: float
    bytes: int
    files: int
    place: str
    notes: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """``NAME@N``: never changes once made.

    ``identity`` is equal for equal contents and parameters (the kernel's, too); ``layers`` are layer names,
    lowest first, the base included; ``tree`` is the digest of their digests; ``packages`` every NEVRA in it,
    sorted.
    """

    image: str
    number: int
    identity: str
    created: float
    base: str
    base_digest: str
    layers: tuple[str, ...]
    stages: tuple[StageOfVersion, ...]
    tree: str
    kernel: str | None
    kernel_parameters: tuple[str, ...]
    parameters: dict[str, Any]
    recipe_digest: str
    lock_digest: str
    packages: tuple[str, ...]

    @property
    def label(self) -> str:
        """``NAME@N``."""
        return f"{self.image}@{self.number}"


class Tally(msgspec.Struct, frozen=True):
    """How many of all tests passed, and how many say nothing."""

    passed: int
    all: int
    skipped: int = 0
    expected_to_fail: int = 0

    def __str__(self) -> str:
        """``1 of 3 passed, 1 skipped, 1 expected to fail``."""
        said = [f"{self.passed} of {self.all} passed"]
        said += [f"{self.skipped} skipped"] if self.skipped else []
        said += [f"{self.expected_to_fail} expected to fail"] if self.expected_to_fail else []
        return ", ".join(said)


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How a version's tests ended. ``tests_digest`` covers the recipe's folder and the code that runs tests.

    ``results`` are (test, outcome, seconds, message) with outcome ``passed``, ``failed``, ``error`` or
    ``skipped``; a version without tests has none and is not verified.
    """

    passed: bool
    tests_digest: str
    when: float
    seconds: float
    results: tuple[tuple[str, str, float, str], ...]

    @property
    def tally(self) -> Tally:
        """The results, counted. One that is expected to fail is kept as skipped, and told by its message."""
        outcomes = [outcome for _, outcome, _, _ in self.results]
        expected = sum(
            outcome == "skipped" and message.startswith(EXPECTED_TO_FAIL)
            for _, outcome, _, message in self.results
        )
        skipped = outcomes.count("skipped") - expected
        return Tally(outcomes.count("passed"), len(outcomes), skipped, expected)

    @property
    def results_passed(self) -> bool:
        """Whether the results are those of tests that passed: one did, and none did otherwise."""
        outcomes = {outcome for _, outcome, _, _ in self.results}
        return "passed" in outcomes and outcomes <= {"passed", "skipped"}

    @property
    def nothing_passed(self) -> str | None:
        """Why a version is not verified though no test failed: ``all were skipped``."""
        tally = self.tally
        if not tally.all or tally.skipped + tally.expected_to_fail < tally.all:
            return None
        kinds = (("skipped", tally.skipped), (EXPECTED_TO_FAIL, tally.expected_to_fail))
        return f"all were {' or '.join(word for word, count in kinds if count)}"
