"""``pipeline lab up`` and ``down``: the process that runs the nodes is begun, found and ended."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, UsageError
from pipeline.lab.head.state import Store
from pipeline.lab.nodes import supervisor, wishes
from pipeline.lab.nodes.power import MOST

UP_SECONDS = 600.0
DOWN_SECONDS = 20.0
SIGN = "pipeline.lab.nodes.supervisor"
ENDS = frozenset({"UP", "DOWN", "INSTALLER_FAILED"})


class Running(msgspec.Struct, frozen=True):
    """A node that is run: its state as the head node has it, and how ssh gets there (user root)."""

    name: str
    state: str
    message: str
    address: str
    log: str


def up(home: Path, count: int, virtual: int, note: Callable[[str], None]) -> bool:
    """Run the lab's first ``count`` nodes and first ``virtual`` virtual ones, and wait until each has booted.

    They go on when this process ends. Returns False when they are run already. ``note`` gets lines of
    progress. Raises ``PipelineError`` with the log's end when it did not work.
    """
    names = chosen(home, count, virtual)
    place = home / "nodes"
    place.mkdir(parents=True, exist_ok=True)
    if is_up(place):
        there = tuple(supervisor.told(place).get("nodes", ()))
        if not there:
            raise PipelineError(
                "somebody holds the lock of the lab's nodes, and has not said which run",
                where=str(place / supervisor.LOCK),
                hint="another `pipeline lab up` may be beginning: wait, and try again",
            )
        if there != names:
            raise UsageError(
                f"other nodes are up: {', '.join(there)}",
                hint="take them down first",
                command="pipeline lab down",
            )
        return False
    (place / supervisor.FILE).unlink(missing_ok=True)  # of one that was killed
    process = _begin(home, names, place / "supervisor.log")
    _wait(process, place, names, note)
    return True


def chosen(home: Path, count: int, virtual: int) -> tuple[str, ...]:
    """The names of those nodes. Raises ``UsageError`` when the head node knows fewer."""
    state = Store(str(home / "head")).state
    kinds = ("node", count, False), ("virtual node", virtual, True)
    names: list[str] = []
    for word, wanted, is_virtual in kinds:
        there = [name for name in wishes.known(state)[:MOST] if wishes.is_virtual(state, name) is is_virtual]
        if not 0 <= wanted <= len(there):
            raise UsageError(
                f"{wanted} {word}s cannot be run", hint=f"the head node knows {len(there)} of them"
            )
        names += there[:wanted]
    if not names:
        raise UsageError("no node is to be run", hint="--nodes takes a number from 1")
    return tuple(names)


def is_up(place: Path) -> bool:
    """Whether somebody runs the nodes of this folder."""
    try:
        with (place / supervisor.LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def nodes(home: Path) -> tuple[Running, ...]:
    """The nodes that are run now."""
    place = home / "nodes"
    found: Mapping[str, Mapping[str, str]] = supervisor.told(place).get("nodes", {}) if is_up(place) else {}
    return tuple(
        Running(name, one["state"], one["message"], one["address"], one["log"]) for name, one in found.items()
    )


def down(home: Path) -> bool:
    """Switch all nodes off; whether there were any. Their disks and adapters stay."""
    place = home / "nodes"
    number = supervisor.told(place).get("pid")
    if not is_up(place) or number is None:
        if not is_up(place):  # it may have been killed
            (place / supervisor.CLIENTS).unlink(missing_ok=True)
        return False
    try:
        process = os.pidfd_open(number)
    except ProcessLookupError:
        return False
    try:
        if not _is_ours(number, home):
            raise PipelineError(
                f"process {number}, which was to run the nodes, is another one",
                where=str(place / supervisor.FILE),
                hint="somebody else holds the nodes' lock: a test that runs nodes of its own?",
            )
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], DOWN_SECONDS)[0]:
            # All that it started ends with it.
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], DOWN_SECONDS)
            (place / supervisor.CLIENTS).unlink(missing_ok=True)
    finally:
        os.close(process)
    return True


def _is_ours(number: int, home: Path) -> bool:
    words = Path(f"/proc/{number}/cmdline").read_bytes().decode().split("\0")
    return any(SIGN in word for word in words) and str(home.resolve()) in words


def _begin(home: Path, names: tuple[str, ...], log: Path) -> subprocess.Popen[bytes]:
    package = Path(__file__).parents[3]
    code = (
        f"import sys; sys.path.insert(0, {str(package)!r}); "
        f"from {SIGN} import main; sys.exit(main(sys.argv[1], sys.argv[2]))"
    )
    with open(log, "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", code, str(home.resolve()), ",".join(names)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )


def _wait(
    process: subprocess.Popen[bytes], place: Path, names: tuple[str, ...], note: Callable[[str], None]
) -> None:
    until, said = time.monotonic() + UP_SECONDS, dict[str, str]()
    while time.monotonic() < until and process.poll() is None:
        there = supervisor.told(place).get("nodes", {})
        for name, one in there.items():
            text = one["state"] + (f" ({one['message']})" if one["message"] else "")
            if said.get(name) != text and text != "DOWN":
                said[name] = text
                note(f"{name}: {text}")
        if len(said) == len(names) and all(one["state"] in ENDS for one in there.values()):
            break
        time.sleep(0.05)
    ended = process.poll() is not None
    bad = [name for name in names if said.get(name) != "UP"]
    if ended or bad:
        lines = (place / "supervisor.log").read_text(errors="replace").splitlines()[-10:]
        raise PipelineError(
            (f"not up: {', '.join(bad)}" if bad else "the nodes went down again")
            + "".join(f"\n  | {line}" for line in lines),
            where=str(place),
            hint="each node's console.log lies in its folder there",
        )
