"""Several images at once: each as soon as its base is there, on any ``concurrent.futures`` executor."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pipeline.build.job import Job
from pipeline.build.outcome import ImageOutcome, failure, not_tried
from pipeline.errors import PipelineError
from pipeline.events import EVENTS, Observer

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

LARGEST_EVENT = 1 << 17
TICK = 0.1
"""Seconds between two looks at the clock of a live view."""


def build_all(
    jobs: Sequence[Job],
    observer: Observer,
    executor: Executor,
    events: socket.socket,
    tick: Callable[[], None],
) -> tuple[ImageOutcome, ...]:
    """Build ``jobs`` (bases before what stands on them) and return how each ended, in the same order.

    ``events`` is the receiving end of the socket that the jobs send to; ``tick`` is called about ten times a
    second. An image whose base failed is not tried; one whose base has a version, tested well or not, is.
    """
    from pipeline.build.image import build_elsewhere

    waiting = {job.recipe.name: job for job in jobs}
    running: dict[str, Future[ImageOutcome]] = {}
    ended: dict[str, ImageOutcome] = {}
    with _wakeup() as (alarm, ring):
        while waiting or running:
            for name in [name for name, job in waiting.items() if _ready(job, waiting, running)]:
                job = waiting.pop(name)
                base = ended.get(job.recipe.base) if job.recipe.base_recipe else None
                if base is not None and base.version is None:
                    ended[name] = not_tried(name, base)
                    continue
                if base is not None:
                    job = replace(job, base_version=base.version)
                with _held():
                    running[name] = executor.submit(build_elsewhere, job)
                running[name].add_done_callback(lambda _: ring())
            ready, _, _ = select.select([events.fileno(), alarm], [], [], TICK)
            if alarm in ready:
                os.read(alarm, 64)
            _pass_on(events, observer)
            for name in [name for name, future in running.items() if future.done()]:
                ended[name] = _result(name, running.pop(name))
            tick()
    _pass_on(events, observer)
    return tuple(ended[job.recipe.name] for job in jobs)


@contextmanager
def forked(count: int) -> Iterator[tuple[Executor, socket.socket, int]]:
    """An executor of ``count`` forked processes, the receiving end for their events, and the sending end's
    number in them. They die with this process, and so does all that they have mounted or started."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiving.setblocking(False)
    with receiving, sending:
        executor = ProcessPoolExecutor(
            count,
            mp_context=multiprocessing.get_context("fork"),
            initializer=begin_worker,
            initargs=(os.getpid(),),
        )
        try:
            yield executor, receiving, sending.fileno()
        except KeyboardInterrupt:
            # The workers may be deep in a chroot; their end is ours, and the kernel cleans up after them.
            _end_workers(executor)
            raise
        executor.shutdown()


def begin_worker(parent: int) -> None:
    """Have this process end with ``parent`` (a process id), and do so now when that one has ended already."""
    from pipeline.libc import die_with_parent

    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # forked while it was held


@contextmanager
def _held() -> Iterator[None]:
    """Ctrl-C waits until this is done: an executor interrupted while it starts cannot be shut down."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_workers(executor: Executor) -> None:
    import multiprocessing

    for process in multiprocessing.active_children():
        process.kill()
    executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _wakeup() -> Iterator[tuple[int, Callable[[], None]]]:
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def ring() -> None:
        with suppress(OSError):
            os.write(writer, b"!")

    try:
        yield reader, ring
    finally:
        os.close(reader)
        os.close(writer)


def _ready(job: Job, waiting: Mapping[str, Job], running: Mapping[str, object]) -> bool:
    base = job.recipe.base
    return not (job.recipe.base_recipe and (base in waiting or base in running))


def _pass_on(events: socket.socket, observer: Observer) -> None:
    while True:
        try:
            observer(msgspec.json.decode(events.recv(LARGEST_EVENT), type=EVENTS))
        except BlockingIOError:
            return


def _result(name: str, future: Future[ImageOutcome]) -> ImageOutcome:
    from concurrent.futures.process import BrokenProcessPool

    error: PipelineError
    try:
        return future.result()
    except BrokenProcessPool:
        error = PipelineError(
            f"{name}: the process that built it was killed",
            hint="finished stages are kept; the next run goes on from there (was there enough memory?)",
            command="dmesg | tail",
        )
    except Exception as defect:
        # Told with the other images, which are not to be lost by it; the remote traceback is in its text.
        error = PipelineError(
            f"a defect of this program: {type(defect).__name__}: {defect}",
            hint="finished stages are kept; please report it",
        )
    return failure(name, error)
