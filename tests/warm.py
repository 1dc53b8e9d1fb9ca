"""``pipeline`` as a process of its own, forked from one that has loaded it: a tenth of a second less of
processor time than to start Python, for commands that tests give by the thousand.

One such process serves a test process, and ends with it. Starting by itself is left to the tests of starting.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from pipeline.chroot.syscalls import CLONE_NEWNS
from pipeline.libc import check, libc

REPOSITORY = Path(__file__).parent.parent
MOUNTS = "/proc/thread-self/ns/mnt"
LARGEST = 1 << 17
"""Bytes of a request: words, folder and environment."""
NOT_LOADED = ("pipeline.lab.", "pipeline.verify.", "pipeline.__main__")
"""What is run and not imported, or needs what only a chroot or a node has."""


def run(words: Sequence[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """``pipeline WORDS`` in ``folder``, with the environment and the mounts that this thread has now.

    Raises ``subprocess.TimeoutExpired`` after ``timeout`` seconds, and ends the process.
    """
    request = {"words": list(words), "folder": str(folder), "environment": dict(os.environ)}
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, ours:
        with theirs, open(MOUNTS, "rb") as mounts:
            files = [theirs.fileno(), out.fileno(), err.fileno(), mounts.fileno()]
            socket.send_fds(_server(), [json.dumps(request).encode()], files)
        ours.settimeout(timeout)
        replies = ours.makefile("r")
        pid = int(replies.readline())
        try:
            code = int(replies.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["pipeline", *words], timeout, _text(out), _text(err)) from None
        return subprocess.CompletedProcess(["pipeline", *words], code, _text(out), _text(err))


def _text(file: Any) -> str:
    file.seek(0)
    return bytes(file.read()).decode()


@cache
def _server() -> socket.socket:
    """Where requests go: a process that ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-c", f"from tests.warm import serve; serve({theirs.fileno()})"]
        subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    return ours


def serve(number: int) -> None:
    """Load all, and fork for each request that comes on the socket ``number``."""
    for module in pkgutil.walk_packages([str(REPOSITORY / "pipeline")], "pipeline."):
        if not module.name.startswith(NOT_LOADED):
            import_module(module.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    requests = socket.socket(fileno=number)
    while True:
        request, files, _, _ = socket.recv_fds(requests, LARGEST, 4)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            _answer(json.loads(request), files)
        for file in files:
            os.close(file)


def _answer(request: dict[str, Any], files: list[int]) -> NoReturn:
    """Run the command in a child of this process, and say its number and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reply, out, err, mounts = files
    child = os.fork()
    if child == 0:
        os.close(reply)
        os.dup2(out, 1)
        os.dup2(err, 2)
        share_mounts(mounts)
        for file in (out, err, mounts):
            os.close(file)
        _command(request)
    os.write(reply, f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(reply, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def share_mounts(mounts: int) -> None:
    """Enter the mount namespace that the descriptor stands for, unless this process is in it."""
    if not os.path.samestat(os.fstat(mounts), os.stat(MOUNTS)):
        check(libc().setns(mounts, CLONE_NEWNS), "setns")


def _command(request: dict[str, Any]) -> NoReturn:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [str(REPOSITORY / "pipeline/__main__.py"), *request["words"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from pipeline.cli import run as command
    from pipeline.interrupts import end_at_once

    end_at_once()
    command()
