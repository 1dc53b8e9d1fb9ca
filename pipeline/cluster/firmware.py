"""The firmware step on live nodes: the vendor's installer on all of them at once, and what came of it."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from pipeline.cluster import fanout, runs
from pipeline.cluster.fanout import Target, Way
from pipeline.cluster.model import Firmware
from pipeline.cluster.nodescript import INSTALLER, LOG, SIGN, script
from pipeline.cluster.outcome import Result, judge
from pipeline.errors import Problem, UsageError
from pipeline.nearest import lookalike

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
PACKAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")

Show = Callable[[str, str], None]
"""Gets each line that a node prints: its name and the line."""


class Chosen(msgspec.Struct, frozen=True):
    """Which nodes a run is for, ``targets``; ``before`` are results of earlier runs that it goes on with.

    ``retry_of`` is the newest of those.
    """

    targets: tuple[Target, ...]
    before: dict[str, Result] = {}
    retry_of: int | None = None


def choose(
    order: Firmware,
    targets: Sequence[Target],
    runs_folder: Path,
    *,
    nodes: Sequence[str] | None = None,
    retry: bool = False,
) -> Chosen:
    """The nodes of ``targets`` that are to be run: those in ``nodes``, and with ``retry`` those not done yet.

    Raises ``UsageError`` for names that are no nodes of this step, and when there is nothing to go on with.
    """
    _check(order, targets)
    known = {target.name: target for target in targets}
    unknown = [name for name in nodes or () if name not in known]
    if unknown:
        raise UsageError(
            Problem(f"{name} is not among the nodes of the firmware step", hint=_hint(name, known))
            for name in unknown
        )
    asked = tuple(target for target in targets if nodes is None or target.name in set(nodes))
    if not retry:
        return Chosen(asked)
    before, number = _done(order, runs_folder)
    before = {name: result for name, result in before.items() if name in known}
    return Chosen(tuple(target for target in asked if target.name not in before), before, number)


def _done(order: Firmware, runs_folder: Path) -> tuple[dict[str, Result], int]:
    """The nodes on which this work is done, by the newest run of each, and the newest run with this work.

    A run may have been for some nodes only, and one that went on with another holds copies of its results:
    those count only where the run itself is gone.
    """
    newest: dict[str, tuple[bool, Result]] = {}
    number, last = None, None
    for record in runs.kept(runs_folder):
        last, same = record, _work(record.order) == _work(order)
        number = record.number if same else number
        own = set(record.names)
        newest |= {
            name: (same, result)
            for name, result in record.results.items()
            if name in own or name not in newest
        }
    if last is None:
        raise UsageError(
            "there is no run to go on with", where=str(runs_folder), command="pipeline cluster run firmware"
        )
    if number is None:
        raise UsageError(
            f"the last run, {last.word}, was for another directory, options or packages than the cluster "
            "file says now, and so was every one before it: there is nothing to go on with",
            command="pipeline cluster run firmware",
        )
    done = {name: result for name, (same, result) in newest.items() if same and result.is_done}
    return done, number


def run_firmware(
    order: Firmware,
    chosen: Chosen,
    runs_folder: Path,
    *,
    cluster: str = "",
    way: Way = Way(),  # noqa: B008 - frozen
    show: Show | None = None,
    refuse: Callable[[], object] = lambda: None,
) -> runs.Record:
    """Run the step on the chosen nodes and return the record, which is also kept below ``runs_folder``.

    ``refuse`` is asked when others can see the run, and nothing has begun: what it raises ends this, and no
    run is kept.

    When this is interrupted the installers on the nodes go on to their end; the record says which nodes were
    not waited for. Raises ``PipelineError`` only for what concerns all nodes.
    """
    with runs.new_folder(runs_folder) as (number, folder):
        record = runs.Record(
            number=number,
            cluster=cluster,
            who=_who(),
            order=order,
            names=tuple(target.name for target in chosen.targets),
            began=time.time(),
            results=chosen.before,
            retry_of=chosen.retry_of,
        )
        watch = _Watch(folder, record, show)
        try:
            refuse()
        except BaseException:
            # Stopped here, a run is kept that has begun on no node.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            if chosen.targets:
                fanout.run(script(order, record.word, record.who), chosen.targets, way, folder, watch)
        finally:
            record = watch.close()
    return record


def steps(order: Firmware) -> tuple[str, ...]:
    """What is done on each node, as somebody would type it."""
    install = f"cd {shlex.quote(order.directory)} && echo y | ./{INSTALLER} {shlex.join(order.options)}"
    return (
        *(f"yum remove -y {shlex.quote(name)}   # where it is installed" for name in order.remove),
        install,
    )


class _Watch:
    """Keeps logs and record while nodes report."""

    def __init__(self, folder: Path, record: runs.Record, show: Show | None) -> None:
        self._logs = runs.Logs(folder)
        self._keeper = runs.Keeper(folder, record)
        self._show = show
        self._began: dict[str, float] = {}
        self._sign = f"{SIGN}{record.word} "

    def started(self, node: str) -> None:
        self._began[node] = time.monotonic()
        self._logs.begin(node)

    def line(self, node: str, line: bytes) -> None:
        self._logs.write(node, line)
        if self._show is not None:
            self._show(node, line.decode(errors="replace").rstrip("\r").removeprefix(self._sign))

    def ended(self, node: str, code: int) -> None:
        self._put(node, code)

    def timed_out(self, node: str) -> None:
        result = Result("failed", f"no end in time; what was started there goes on, its log is {LOG}")
        if node not in self._began:
            result = Result("not run", "its turn did not come in time")
        self._logs.end(node)
        self._keep(node, result)

    def close(self) -> runs.Record:
        for node in [node for node in self._began if node not in self._keeper]:
            self._put(node, None)
        self._logs.close()
        return self._keeper.end(self._keeper.record.names)

    def _put(self, node: str, code: int | None) -> None:
        record = self._keeper.record
        self._keep(
            node, judge(self._logs.end(node), record.word, code, record.order.options, record.order.vfs)
        )

    def _keep(self, node: str, result: Result) -> None:
        seconds = time.monotonic() - self._began.get(node, time.monotonic())
        self._keeper.put(node, msgspec.structs.replace(result, seconds=round(seconds, 2)))


def _work(order: Firmware) -> tuple[object, ...]:
    """What is done on a node, whichever nodes there are."""
    return (order.directory, order.remove, order.options, order.vfs)


def _who() -> str:
    user = os.environ.get("SUDO_USER") or _user()
    when = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return f"{user}@{socket.gethostname()}, process {os.getpid()}, since {when}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _check(order: Firmware, targets: Sequence[Target]) -> None:
    names = [target.name for target in targets]
    problems = [
        Problem(f"{name!r} is no name of a node", where="firmware")
        for name in names
        if not NAME.fullmatch(name)
    ]
    problems += [
        Problem(f"{name} is there twice", where="firmware")
        for name in sorted(
            {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
        )
    ]
    if not order.directory.startswith("/"):
        problems.append(
            Problem(
                f"the directory {order.directory!r} is not absolute",
                where="firmware",
                hint="it is a shared directory that all nodes see",
            )
        )
    for word in (order.directory, *order.remove, *order.options):
        if not word or any(character < " " or character == "\x7f" for character in word):
            problems.append(Problem(f"{word!r} can't be a word of a command", where="firmware"))
    problems += [
        Problem(f"{name!r} can't be the name of a package", where="firmware")
        for name in order.remove
        if not PACKAGE.fullmatch(name)
    ]
    if problems:
        raise UsageError(problems)


def _hint(name: str, known: dict[str, Target]) -> str:
    found = lookalike(name, known)
    return f"did you mean {found}?" if found else "the cluster file says which categories and nodes it is for"
