"""The lab's programs (cmsh, ceph, scontrol, …) forked from a process that has loaded them: a quarter of the
processor time that it takes to start them. Tests of the programs themselves start them as they are.

A shell stands for each: it says its process's number, and a child of the server takes over what that has
open, its words, folder, environment and mounts. It is the program's own code that runs.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from pipeline.libc import libc
from tests.warm import REPOSITORY, share_mounts

MODULES = (
    "pipeline.lab.head.cmsh",
    "pipeline.lab.head.programs",
    "pipeline.lab.services.ceph",
    "pipeline.lab.services.clouds",
    "pipeline.lab.services.slurm",
)
PROGRAM = re.compile(r"from (pipeline\.lab\.\S+) import (\w+); sys\.exit")
REAL = "real"
SOON = 10.0
"""Seconds after which nobody is believed to read any more."""
_PIDFD_GETFD = 438

STANDS_FOR = """\
#!/bin/sh
# {module} {function}
said={place}/$$
if mkfifo "$said" 2>/dev/null && (echo "$$" >{place}/asked) && read -r code <"$said"; then
    [ "$code" = {real} ] || exit "$code"
fi
"""


def replaced(folder: Path) -> None:
    """Have the programs in ``folder`` forked that this module can."""
    for file in folder.iterdir():
        text = file.read_text()
        if (found := PROGRAM.search(text)) and found[1] in MODULES:
            shell = STANDS_FOR.format(
                module=found[1], function=found[2], place=shlex.quote(_server()), real=REAL
            )
            file.write_text(text.replace("#!/bin/sh\n", shell, 1))


@cache
def _server() -> str:
    """The folder where it is asked; both are gone soon after this process has ended, however."""
    place = tempfile.mkdtemp(prefix="warm-")
    os.mkfifo(f"{place}/asked")
    ours, theirs = socket.socketpair()
    with theirs:
        code = f"from tests.warm_programs import serve; serve({place!r}, {theirs.fileno()})"
        command = [sys.executable, "-c", code]
        subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    ours.recv(1)  # it listens
    atexit.register(ours.close)  # and it stays open until then
    return place


def serve(place: str, owner: int) -> None:
    """Fork for every number that comes, until nobody has the other end of ``owner``."""
    for module in MODULES:
        import_module(module)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asked = os.open(f"{place}/asked", os.O_RDWR | os.O_CLOEXEC)
    os.write(owner, b"1")
    begun = b""
    while owner not in select.select([asked, owner], [], [])[0]:
        *numbers, begun = (begun + os.read(asked, 4096)).split(b"\n")
        for number in numbers:
            if os.fork() == 0:
                _answer(place, int(number))
    shutil.rmtree(place, ignore_errors=True)


def _answer(place: str, asking: int) -> NoReturn:
    """Run it in a child of this process, and say how it ended. Who asks is the program to all others: killed,
    that is killed as well."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words = _words(place, asking)
    if not words:
        _say(f"{place}/{asking}", REAL)
        os._exit(0)
    with suppress(ProcessLookupError):
        shell = os.pidfd_open(asking)
        child = os.fork()
        if child == 0:
            os.close(shell)
            _become(asking, words)
        if shell in select.select([shell, os.pidfd_open(child)], [], [])[0]:
            os.kill(child, signal.SIGKILL)
        else:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            _say(f"{place}/{asking}", str(code if code >= 0 else 128 - code))
    os._exit(0)


def _say(file: str, what: str) -> None:
    """Into the pipe ``file``, once somebody reads there."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        try:
            pipe = os.open(file, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.0005)
            continue
        os.write(pipe, f"{what}\n".encode())
        break
    os.unlink(file)


def _words(place: str, asking: int) -> list[str]:
    """The script that asks and its words; none where the number is one of another namespace."""
    try:
        words = [os.fsdecode(word) for word in Path(f"/proc/{asking}/cmdline").read_bytes().split(b"\0")]
        return words[1:-1] if place in Path(words[1]).read_text() else []
    except (OSError, ValueError, IndexError):
        return []


def _become(asking: int, words: list[str]) -> NoReturn:
    script, *arguments = words
    os.chdir(f"/proc/{asking}/cwd")
    with open(f"/proc/{asking}/ns/mnt", "rb") as mounts:
        share_mounts(mounts.fileno())
    found = PROGRAM.search(Path(script).read_text())
    assert found is not None
    environment = Path(f"/proc/{asking}/environ").read_bytes().split(b"\0")
    os.environ.clear()
    os.environb.update(line.split(b"=", 1) for line in environment if b"=" in line)
    time.tzset()
    with _open_files(asking) as files:
        for number, file in enumerate(files):
            os.dup2(file, number)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace", buffering=1, closefd=False)
    sys.argv = ["-c", *arguments]
    try:
        code = getattr(import_module(found[1]), found[2])(f"{os.path.dirname(script)}/..")
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0))


@contextmanager
def _open_files(asking: int) -> Iterator[list[int]]:
    """What the process ``asking`` has as stdin, stdout and stderr."""
    process = os.pidfd_open(asking)
    files = [libc().syscall(_PIDFD_GETFD, process, number, 0) for number in range(3)]
    assert min(files) >= 0, "pidfd_getfd"
    try:
        yield files
    finally:
        for file in (process, *files):
            os.close(file)
