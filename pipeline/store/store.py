"""The store: layers by key, what is being made, and what failed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import asdict

from pipeline.errors import MachineError, PipelineError
from pipeline.store.filesystem import (
    DIRECTORY,
    check_can_hold_layers,
    exchange,
    sync,
    sync_directory,
    told,
    write_whole,
)
from pipeline.store.records import Base, Draft, Failed, Failure, Layer, Summary, read, stack_digest
from pipeline.store.sealed import sealed
from pipeline.store.versions import Versions
from pipeline.store.work import Work, begin, put_aside, sweep

FORMAT = 1
_PLACES = ("layers", "bases", "images", "work", "failed", "downloads", "locks", "clusters")
NAME_DIGITS = 20


def layer_name(key: str) -> str:
    """The directory name of the layer of a key (64 hex digits)."""
    return key[:NAME_DIGITS]


def is_there(path: Path) -> bool:
    """Whether there is a store at ``path``. One that is closed to this user is: opening it says why."""
    try:
        return (path / "format").exists()
    except PermissionError:
        return True


class Store(msgspec.Struct, frozen=True):
    """A store that is open. Everything in it is made elsewhere first and appears by one rename.

    Any number of processes and threads may use one store at the same time.
    """

    path: Path

    @classmethod
    def open(cls, path: Path, create: bool = True) -> Store:
        """The store at ``path``; what a killed process left half-made is removed.

        Raises ``PipelineError`` when it is none, or made by a newer release, and ``MachineError`` when the
        file system cannot hold layers.
        """
        path = path.absolute()
        with told("the store cannot be opened", path):
            try:
                found = (path / "format").read_text().strip()
            except PermissionError:
                raise MachineError(
                    "the store is root's alone: its layers hold setuid programs and folders open to all",
                    where=str(path),
                    hint="run the command as root",
                ) from None
            except FileNotFoundError:
                if not create:
                    raise PipelineError(
                        "there is no store", where=str(path), command="pipeline build IMAGE"
                    ) from None
                _create(path)
            else:
                _check_format(found, path)
                _close_to_others(path)
                sweep(path / "work")
        return cls(path)

    @property
    def versions(self) -> Versions:
        """The images' versions."""
        return Versions(self.path)

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock ``name`` among all processes and threads; ``waiting`` is called when it is taken.

        The kernel lets go of it when the process ends, however it ends.
        """
        with _locked(self.path / "locks" / name.replace("/", "%"), waiting):
            yield

    def layer_tree(self, name: str) -> Path:
        """Where the tree of the layer ``name`` is."""
        return self.path / "layers" / name / "tree"

    def layer_log(self, name: str) -> Path:
        """What the programs printed that made the layer ``name``."""
        return self.path / "layers" / name / "log.txt"

    def layer_manifest(self, name: str) -> Path:
        """The manifest of the layer ``name``, for ``pipeline.store.manifest.read``."""
        return self.path / "layers" / name / "manifest.gz"

    def layer(self, key: str, below: str | None = None) -> Layer | None:
        """The layer of ``key``; None when there is none. One without its tree is a ``PipelineError``.

        One that was made on other content than ``below`` (a ``stack_digest``; None: not known) does not
        count: a layer under it has been made again since, and came out differently.
        """
        name = layer_name(key)
        found = self.layer_called(name)
        if found is None or found.key != key:
            return None
        if below is not None and found.below not in (None, below):
            return None
        if not self.layer_tree(name).is_dir() and self.layer_called(name) is not None:  # not just removed
            raise PipelineError(
                f"the layer {name} has lost its tree",
                where=str(self.layer_tree(name)),
                command="pipeline fsck",
            )
        return found

    def layer_called(self, name: str) -> Layer | None:
        """The layer of that name; None when there is none."""
        return read(self.path / "layers" / name / "layer.json", Layer)

    def layers(self) -> tuple[str, ...]:
        """The names of all layers, sorted."""
        return tuple(sorted(os.listdir(self.path / "layers")))

    def begin(self, parents: Sequence[str] = ()) -> Work:
        """A place for a stage on the layers ``parents`` (names, lowest first). Use it in a ``with``.

        Its ``upper`` has the attributes of the root below: overlayfs shows those of the uppermost.
        """
        with told("a stage cannot begin", self.path / "work"):
            work = begin(self.path / "work", parents, self._digest_of(parents))
            try:
                work.work.mkdir(0o700)
                work.log.touch()
                work.upper.mkdir(0o755)
                if parents:
                    self._copy_root(work, self.layer_tree(parents[-1]))
            except BaseException:
                work.__exit__(None, None, None)
                raise
            return work

    def _digest_of(self, parents: Sequence[str]) -> str | None:
        layers = [self.layer_called(name) for name in parents]
        digests = [layer.digest for layer in layers if layer is not None]
        return stack_digest(digests) if layers and len(digests) == len(layers) else None

    def _copy_root(self, work: Work, below: Path) -> None:
        from pipeline.store.copying import copy_attributes
        from pipeline.store.tree import Item

        directory = os.open(work.path, DIRECTORY)
        try:
            copy_attributes(os.fsencode(below), below.lstat(), Item(directory, b"upper", b"", True))
        finally:
            os.close(directory)

    def commit(
        self, work: Work, draft: Draft, *, epoch: int, shims: Mapping[str, str] | None = None
    ) -> Layer:
        """Make what a stage left in ``work.upper``, no longer mounted, the layer of ``draft.key``.

        ``epoch`` (seconds) replaces every time since the stage began; ``shims`` maps the relative path of
        each stand-in program that lay between parents and upper to its sha256. When another process was
        quicker, its layer stands and is returned.
        """
        from pipeline.store.commit import make_layer  # only where something was built

        with told(f"the layer of stage {draft.stage!r} cannot be committed", work.path):
            trees = [self.layer_tree(name) for name in work.parents]
            summary = make_layer(work, trees, epoch, shims or {})
            return self.finish(work, draft, summary)

    def finish(self, work: Work, draft: Draft, summary: Summary) -> Layer:
        """Make ``work``, whose upper is complete and has its manifest, the layer of ``draft.key``."""
        now = time.time()
        layer = Layer(
            **asdict(draft),
            digest=summary.digest,
            parent=work.parents[-1] if work.parents else None,
            created=now,
            seconds=now - work.started,
            bytes=summary.bytes,
            files=summary.files,
            below=work.below,
        )
        (work.path / "links.json").write_bytes(msgspec.json.encode(summary.links))
        (work.path / "layer.json").write_bytes(sealed(layer))
        work.upper.rename(work.path / "tree")
        work.path.chmod(0o755)
        sync(work.path)
        target = self.path / "layers" / layer_name(draft.key)
        # Stopped here: all is on the disk, but in a work directory that the next sweep removes.
        try:
            work.path.rename(target)
        except OSError as error:
            if error.errno == errno.ENOENT and not target.parent.is_dir():
                raise _lost(target.parent) from None
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            theirs = self.layer(draft.key, work.below)
            if theirs is None and self.layer(draft.key) is not None:
                # Made on what is not there any more. Stopped here: it is still there, and not counted.
                exchange(work.path, target)
                sync_directory(target.parent)
                return layer
            if theirs is None:
                raise PipelineError(
                    f"the layer {target.name} is in the way: it is damaged or has another key",
                    where=str(target),
                    command="pipeline fsck",
                ) from None
            return theirs
        sync_directory(target.parent)
        return layer

    def fail(self, work: Work, failure: Failure) -> Failed:
        """Keep ``work`` as the last failure of its image, so that a shell can be opened there.

        The one before it goes; for somebody who is in it, it stays whole (``presence.failure_entered``).
        """
        with told(f"the failed stage {failure.stage!r} of {failure.image!r} cannot be kept", work.path):
            (work.path / "failure.json").write_bytes(msgspec.json.encode(failure))
            work.work.mkdir(0o700, exist_ok=True)  # a commit that failed has removed it
            target = self.path / "failed" / failure.image
            target.mkdir(exist_ok=True)
            # Stopped here: the failure before this one is kept, or an empty directory that means none.
            exchange(work.path, target)
        return _failed(target, failure)

    def failed(self, image: str, stage: str | None = None) -> Failed | None:
        """The last failure of ``image``, if any was kept and it is one of ``stage``."""
        path = self.path / "failed" / image
        failure = read(path / "failure.json", Failure)
        if failure is None or (stage is not None and failure.stage != stage):
            return None
        return _failed(path, failure)

    def forget_failure(self, image: str) -> None:
        """Remove what is kept of the last failure of ``image``; nothing happens when there is none.

        For somebody who is in it, it stays whole.
        """
        with told(f"the last failure of {image!r} cannot be removed", self.path):
            put_aside(self.path / "failed" / image, self.path / "work")

    def base(self, name: str) -> Base | None:
        """What is known of the imported base ``name``; None when it never was imported."""
        return read(self.path / "bases" / f"{name}.json", Base)

    def set_base(self, base: Base) -> None:
        """Remember an imported base, in place of what was known of it."""
        write_whole(self.path / "bases" / f"{base.name}.json", sealed(base))


def _create(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    strangers = sorted(set(os.listdir(path)) - {*_PLACES, "format"})
    strangers = [name for name in strangers if not name.startswith(".format.")]
    if strangers:
        raise PipelineError(
            f"the directory is not a store: it holds {', '.join(map(repr, strangers[:5]))}",
            where=str(path),
            hint="name a directory that is empty or does not exist yet",
        )
    _close_to_others(path)
    for place in _PLACES:
        (path / place).mkdir(mode=0o755, exist_ok=True)
    check_can_hold_layers(path / "work")
    # Stopped here or before: without its format file it is made again.
    write_whole(path / "format", f"{FORMAT}\n".encode())


def _close_to_others(path: Path) -> None:
    """Trees of images hold directories that all may write to (/tmp), and old programs with setuid: other
    users of this machine get at neither. What is published is not reached through here."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        path.chmod(mode & 0o700)


def _lost(place: Path) -> PipelineError:
    return PipelineError(
        "the store has lost this folder",
        where=str(place),
        hint="put it back, or mount the disk that it is on; if it is gone for good, make it empty",
        command=f"mkdir {place}",
    )


def _check_format(found: str, path: Path) -> None:
    if found == str(FORMAT):
        return
    newer = found.isdigit() and int(found) > FORMAT
    raise PipelineError(
        f"the store has format {found!r}, this program knows {FORMAT}",
        where=str(path / "format"),
        hint="a newer release of this program made it; update this one" if newer else "the file is damaged",
    )


@contextmanager
def _locked(path: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    with told("the store cannot be locked", path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _failed(path: Path, failure: Failure) -> Failed:
    return Failed(failure, path / "upper", path / "work", path / "log.txt")
