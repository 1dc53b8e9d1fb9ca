"""Versions: ``NAME@N``, made by one rename and never changed; test results come later, replaced whole."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pipeline.errors import PipelineError, UsageError
from pipeline.store.filesystem import exchange, sync, sync_directory, told
from pipeline.store.records import Layer, Verification, Version, read, stack_digest
from pipeline.store.sealed import sealed
from pipeline.store.work import begin

_LABEL = re.compile(r"(?P<image>[^@/.][^@/]*)(@(?P<number>[0-9]{1,9}))?")


class _Identity(msgspec.Struct):
    identity: str


class Versions(msgspec.Struct, frozen=True):
    """The versions in the store at ``store``."""

    store: Path

    def _place(self, image: str) -> Path:
        return self.store / "images" / image / "versions"

    def directory(self, version: Version) -> Path:
        """Where a version's files are: ``version.json`` and those that it was added with."""
        return self._place(version.image) / str(version.number)

    def images(self) -> tuple[str, ...]:
        """The names of the images that have versions, sorted."""
        return tuple(sorted(name for name in os.listdir(self.store / "images") if self.numbers(name)))

    def numbers(self, image: str) -> tuple[int, ...]:
        """The numbers of an image's versions, ascending; empty for an unknown image."""
        try:
            names = os.listdir(self._place(image))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def get(self, image: str, number: int | None = None) -> Version | None:
        """A version; without a number the newest one. None when there is none."""
        if number is None:
            numbers = self.numbers(image)
            if not numbers:
                return None
            number = numbers[-1]
        return read(self._place(image) / str(number) / "version.json", Version)

    def all(self, image: str) -> tuple[Version, ...]:
        """All versions of an image, oldest first."""
        found = (self.get(image, number) for number in self.numbers(image))
        return tuple(version for version in found if version is not None)

    def resolve(self, text: str) -> Version:
        """The version that ``IMAGE[@N]`` means. Raises ``UsageError`` with what there is instead."""
        match = _LABEL.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is no version", hint="IMAGE is the newest one, IMAGE@N number N")
        image, number = match["image"], match["number"]
        version = self.get(image, int(number) if number else None)
        if version is not None:
            return version
        numbers = self.numbers(image)
        if numbers:
            there = ", ".join(f"{image}@{have}" for have in numbers[-10:])
            nearest = min(numbers, key=lambda have: abs(have - int(number)))
            raise UsageError(
                f"{image} has no version {number}",
                hint=f"did you mean {image}@{nearest}? there are: {there}",
                command=f"pipeline versions {image}",
            )
        raise UsageError(
            f"there is no version of {image!r}", hint=self._nearest(image), command="pipeline versions"
        )

    def _nearest(self, image: str) -> str:
        import difflib

        images = self.images()
        near = difflib.get_close_matches(image, images, 1)
        if near:
            return f"did you mean {near[0]!r}?"
        return f"there are: {', '.join(images)}" if images else "no image has been built yet"

    def add(self, version: Version, files: Mapping[str, bytes]) -> Version:
        """Add a version, whose number is ignored and given here, with ``files`` (by name) beside it.

        When the image has a version of the same identity already, that one is returned. All layers are on the
        disk before the version is.
        """
        place = self._place(version.image)
        with told(f"the version of {version.image!r} cannot be added", place):
            place.mkdir(parents=True, exist_ok=True)
            lock = os.open(
                self.store / "locks" / f"version-{version.image}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                known = self.find(version.image, version.identity, version.layers)
                return known or self._add(version, files)
            finally:
                os.close(lock)

    def find(self, image: str, identity: str, layers: tuple[str, ...]) -> Version | None:
        """The version of ``image`` with that identity; None when there is none.

        ``layers`` are names of layers that are there and come to it. A version of other ones counts while
        those are there as well, and what they were.
        """
        for number in reversed(self.numbers(image)):
            found = read(self._place(image) / str(number) / "version.json", _Identity)
            if found is not None and found.identity == identity:
                version = self.get(image, number)
                if version is not None and (version.layers == layers or self._is_whole(version)):
                    return version
        return None

    def _is_whole(self, version: Version) -> bool:
        places = [self.store / "layers" / name for name in version.layers]
        with suppress(PipelineError):  # fsck tells of damaged records
            layers = [read(place / "layer.json", Layer) for place in places if (place / "tree").is_dir()]
            found = [layer.digest for layer in layers if layer is not None]
            return len(found) == len(places) and stack_digest(found) == version.tree
        return False

    def _add(self, version: Version, files: Mapping[str, bytes]) -> Version:
        number = max(self.numbers(version.image), default=0) + 1
        made = replace(version, number=number)
        with begin(self.store / "work") as work:
            for name, content in files.items():
                (work.path / name).write_bytes(content)
            (work.path / "version.json").write_bytes(sealed(made))
            work.path.chmod(0o755)
            sync(work.path)
            # Stopped here: there is no such version; the next sweep removes what was prepared.
            work.path.rename(self._place(version.image) / str(number))
        sync_directory(self._place(version.image))
        return made

    def _verified(self, image: str, number: int) -> Path:
        return self._place(image) / f"{number}.verified"

    def verification_directory(self, version: Version) -> Path:
        """Where the reports of the last verification are; it may not exist."""
        return self._verified(version.image, version.number)

    def set_verification(
        self, version: Version, verification: Verification, files: Mapping[str, bytes]
    ) -> None:
        """Keep how a version's tests ended, with reports ``files`` (by name), in place of the last."""
        target = self._verified(version.image, version.number)
        with (
            told(f"the test results of {version.label} cannot be kept", target),
            begin(self.store / "work") as work,
        ):
            for name, content in files.items():
                (work.path / name).write_bytes(content)
            (work.path / "verification.json").write_bytes(sealed(verification))
            work.path.chmod(0o755)
            sync(work.path)
            target.mkdir(exist_ok=True)
            # Stopped here: the last results stand, or an empty directory that means none.
            exchange(work.path, target)
            sync_directory(target.parent)

    def verification(self, version: Version) -> Verification | None:
        """How a version's tests ended; None when they have not been run.

        They have not passed when the results say otherwise, whatever else the record says.
        """
        found = read(self._verified(version.image, version.number) / "verification.json", Verification)
        return found and replace(found, passed=found.passed and found.results_passed)
