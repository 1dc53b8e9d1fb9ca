"""Running one stage: an upper directory over its parents, a chroot, and a commit or a kept failure."""

from __future__ import annotations

import errno
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import msgspec

from pipeline.chroot.enter import EnteredRoot, enter
from pipeline.chroot.root import INPUTS, RootSpec
from pipeline.errors import PipelineError, Problem, UnreadableError, retold
from pipeline.events import Lines, Note, Observer, StageStarted
from pipeline.mirrors import is_url
from pipeline.packaging.rpmdb import installed
from pipeline.printable import on_one_line, plain
from pipeline.removing import remove_tree
from pipeline.stages.base import Inputs, PackageAnswer, Stage, Tree
from pipeline.store.records import Draft, Failure, Layer
from pipeline.store.store import Store
from pipeline.store.work import Work

NO_SPACE = os.strerror(errno.ENOSPC)
"""As programs of an image say it too: they run with LANG=C."""
DISK_FULL = "the disk of the store is full: make room (pipeline gc) and run the same command again"
FETCHED_ONCE = (
    "this is the file that was fetched when recipe.lock was made, and no build tries another; "
    "when the server has the right one, lock again"
)
TRACEBACK = "Traceback (most recent call last):"
MOST_TOLD = 1 << 14
"""Characters in one event, which has to fit into a message between processes."""
RPM_DATABASES = ("var/lib/rpm", "usr/lib/sysimage/rpm")


def _nothing_to_confirm() -> None:
    """For runs that read nothing outside the store."""


class StageRun(msgspec.Struct, frozen=True):
    """What one run of a stage needs. ``files`` maps each source's location to where it lies on this machine,
    ``place`` is the recipe's ``file:line``. ``confirm`` raises ``PipelineError`` when what the stage has read
    is not what its key was made of."""

    image: str
    stage: Stage
    key: str
    basis: Mapping[str, Any]
    parents: tuple[str, ...]
    epoch: int
    files: Mapping[str, Path]
    trees: Mapping[str, Path]
    parameters: Mapping[str, Any]
    answer: PackageAnswer | None
    place: Callable[[], str]
    confirm: Callable[[], None] = _nothing_to_confirm

    def binds(self) -> dict[str, Path]:
        """Path below INPUTS → file of this machine. Numbered: two sources may have the same name."""
        found = {f"{number}/{path.name}": path for number, path in enumerate(self._sources().values())}
        return found | {f"trees/{name}": path for name, path in self.trees.items()}

    def inputs(self, installed: tuple[str, ...] | None = None) -> Inputs:
        """What the stage is handed; ``installed`` are the packages before it."""
        sources = {
            location: f"{INPUTS}/{number}/{path.name}"
            for number, (location, path) in enumerate(self._sources().items())
        }
        trees = {name: Tree(path, f"{INPUTS}/trees/{name}") for name, path in self.trees.items()}
        return Inputs(self.parameters, sources, trees, self.answer, installed)

    def _sources(self) -> dict[str, Path]:
        return dict(sorted(self.files.items()))


def spec(store: Store, work: Work, run: StageRun, *, network: bool, out: Path | None = None) -> RootSpec:
    """The root in which ``run`` happens, over ``work``."""
    return RootSpec(
        layers=tuple(store.layer_tree(name) for name in work.parents),
        upper=work.upper,
        work=work.work,
        network=network,
        binds=run.binds(),
        epoch=run.epoch,
        out=out,
    )


def run_stage(
    store: Store, run: StageRun, packages: tuple[str, ...] | None, observer: Observer
) -> tuple[Layer, tuple[str, ...] | None]:
    """Run a stage and commit its layer. Returns it and the packages that are installed then.

    ``packages`` are those installed before, None when nobody has looked yet. When it fails, all it left is
    kept for ``pipeline shell``, and the error says where it was written and what to run.
    """
    observer(StageStarted(image=run.image, stage=run.stage.name))
    notes: list[str] = []
    with store.begin(run.parents) as work, _log_of(work) as log:
        hear = _hearer(run, log, observer)
        with _kept_on_failure(store, work, run, log):
            run.stage.prepare()
            with enter(
                spec(store, work, run, network=run.stage.wants_network()),
                on_lines=hear,
                on_note=lambda text: _noted(run, notes, log, observer, text),
            ) as root:
                before = _packages_before(root, run.stage, packages)
                after = run.stage.run(root, run.inputs(before))
                if after is None:
                    after = installed(root) if _touched(work.upper) else before
                kernel, shims = root.kernel, root.shims
        run.confirm()  # no failure to look at: the stage did its part
        with _kept_on_failure(store, work, run, log):
            draft = Draft(
                key=run.key,
                image=run.image,
                stage=run.stage.name,
                type=str(run.basis["type"]),
                notes=tuple(notes),
                added=_minus(after, before) if before is not None else (),
                removed=_minus(before, after),
                kernel=kernel,
                basis=dict(run.basis),
            )
            return store.commit(work, draft, epoch=run.epoch, shims=shims), after


def _packages_before(
    root: EnteredRoot, stage: Stage, packages: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Nobody looks for a type that cannot change them."""
    return installed(root) if packages is None and stage.changes_packages() else packages


def _touched(upper: Path) -> bool:
    return any(os.path.lexists(upper / folder) for folder in RPM_DATABASES)


def _minus(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(sorted(set(one or ()) - set(other or ())))


def _hearer(run: StageRun, log: TextIO, observer: Observer) -> Callable[[Sequence[str]], None]:
    """What writes lines to the log as they come and tells of them, many at once: so each costs little."""

    def hear(lines: Sequence[str]) -> None:
        text = plain("\n".join(lines) + "\n")
        log.write(text)
        while text:
            end = len(text) if len(text) <= MOST_TOLD else text.rfind("\n", 0, MOST_TOLD) + 1 or MOST_TOLD
            observer(Lines(image=run.image, stage=run.stage.name, text=text[:end].removesuffix("\n")))
            text = text[end:]

    return hear


def _noted(run: StageRun, notes: list[str], log: TextIO, observer: Observer, text: str) -> None:
    text = plain(text)
    notes.append(text)
    print(f"note: {text}", file=log)
    observer(Note(image=run.image, stage=run.stage.name, text=text))


def of_stage(name: str, place: str, problem: Problem) -> Problem:
    """``problem`` as one of the stage ``name``, which the recipe has at ``place`` (``file:line``).

    Where the problem itself is (a file of the image, a source) becomes part of what is said.
    """
    inner = f"{problem.where}: " if problem.where else ""
    return Problem(f'stage "{name}": {inner}{problem.message}', place, problem.hint, problem.command)


def _log_of(work: Work) -> TextIO:
    """The log, unbuffered: on a full disk nothing is left to be written, and to fail, when it is closed."""
    return TextIOWrapper(open(work.log, "ab", buffering=0), errors="replace", write_through=True)


@contextmanager
def _kept_on_failure(store: Store, work: Work, run: StageRun, log: TextIO) -> Iterator[None]:
    """Whatever fails in the block is kept as a failure of the stage, a defect of this program too."""
    try:
        yield
    except PipelineError as error:
        raise _kept(store, work, run, error) from None
    except BrokenPipeError:  # nobody reads what this program prints
        raise
    except Exception as error:
        with suppress(OSError):
            log.write("".join(traceback.format_exception(error)))
        raise _kept(store, work, run, _of_exception(error, run.image)) from None


def _of_exception(error: Exception, image: str) -> PipelineError:
    if isinstance(error, OSError) and error.strerror:
        name = error.filename
        return PipelineError(
            error.strerror, where=os.fsdecode(name) if isinstance(name, str | bytes) else None
        )
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    if TRACEBACK in text:  # that of a function which failed in the chroot
        text = text.splitlines()[-1]
    return PipelineError(
        f"a defect of this program: {text}",
        hint=f"please report it with failed/{image}/log.txt of the store",
    )


def _kept(store: Store, work: Work, run: StageRun, error: PipelineError) -> PipelineError:
    """Put the failed stage aside and say where it stands in the recipe and how to get in.

    When it cannot even be put aside, that is said as well, after what failed first.
    """
    place = run.place()
    told = _locked_problems(run, error) if isinstance(error, UnreadableError) else error.problems
    problems = [of_stage(run.stage.name, place, problem) for problem in told]
    last = problems[-1]
    enter_it: str | None = f"pipeline shell {run.image} --stage {run.stage.name}"
    lost: list[Problem] = []
    failure = Failure(
        image=run.image,
        stage=run.stage.name,
        key=run.key,
        layers=run.parents,
        message=str(error),
        when=time.time(),
    )
    try:
        store.fail(work, failure)
    except PipelineError as second:
        enter_it = None
        lost = [of_stage(run.stage.name, place, problem) for problem in second.problems]
    hint = last.hint or (DISK_FULL if NO_SPACE in last.message else None)
    problems[-1] = Problem(last.message, last.where, hint, last.command or enter_it)
    return retold(error, [*problems, *lost])


def _locked_problems(run: StageRun, error: UnreadableError) -> list[Problem]:
    """Those of ``error``; where only the lock says which file it has to be, with how another is fetched."""
    demanded = {on_one_line(each.location) for each in run.stage.sources() if each.sha256 is not None}
    return [
        Problem(
            problem.message,
            problem.where,
            f"{problem.hint}; {FETCHED_ONCE}" if problem.hint else FETCHED_ONCE,
            f"pipeline lock {run.image}",
        )
        if problem.where is not None and is_url(problem.where) and problem.where not in demanded
        else problem
        for problem in error.problems
    ]


@contextmanager
def throwaway(store: Store, run: StageRun, observer: Observer) -> Iterator[tuple[EnteredRoot, Path]]:
    """A root with network on the parents of ``run``, of which nothing stays but what is put at OUT.

    Yields the root and the directory of this machine that OUT is. A failure is kept as one of the stage.
    """
    observer(StageStarted(image=run.image, stage=run.stage.name, what="locking"))
    with store.begin(run.parents) as work, _log_of(work) as log:
        out = work.path / "out"
        hear = _hearer(run, log, observer)
        with _kept_on_failure(store, work, run, log):
            out.mkdir()
            try:
                place = spec(store, work, run, network=True, out=out)
                with enter(place, on_lines=hear, on_note=lambda text: hear([text])) as root:
                    yield root, out
            except BaseException:
                remove_tree(out)
                raise
