"""pytest in a process of its own, with nothing of the machine's or the user's configuration.

What it runs can fail, hang or take its process down; it can't take this program down.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pipeline

PACKAGES = Path(pipeline.__file__).parent.parent
LAST_LINES = 15
LOOK_EVERY = 0.2
"""Seconds between looks whether the tests' process is there (a pidfd takes kernel 5.3, EL8 has 4.18)."""

OPTIONS = (
    # No ini file, no plugins that happen to be installed, no cache; of conftests only those beside the tests.
    "--config-file=/dev/null",
    "--disable-plugin-autoload",
    "--continue-on-collection-errors",
    "--import-mode=importlib",
    "--color=no",
    "--tb=short",
    "--verbose",
    # A tuple that is always true, a class that is not collected, "return" for "assert": they test nothing.
    "-Werror::pytest.PytestAssertRewriteWarning",
    "-Werror::pytest.PytestCollectionWarning",
    "-Werror::pytest.PytestReturnNotNoneWarning",
)
WITHOUT = ("cacheprovider", "junitxml", "doctest", "pastebin", "faulthandler")


class Pytest:
    """The process of the tests and the socket to it."""

    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self._process = process

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None

    def says_more(self, seconds: float | None = None) -> bool:
        """Wait until there is a message (or the end of them); False when the process has ended without one,
        or when ``seconds`` are over.

        Something that it started may hold the socket open, so its end has to be looked for.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            ended = not self.is_running()
            if select.select([self.connection], [], [], 0 if ended else LOOK_EVERY)[0]:
                return True
            if ended or (until is not None and time.monotonic() > until):
                return False

    def end(self) -> int:
        """Wait until it has ended by itself, and return its exit code (negative: the signal)."""
        self.connection.close()
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return self.kill()

    def kill(self) -> int:
        """End it, and what tests started and left behind."""
        if self._process.returncode is None:
            # Not yet waited for, it keeps the number of its group.
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


@contextmanager
def running(plugin: str, files: Sequence[Path], top: Path, log: Path) -> Iterator[Pytest]:
    """pytest with our ``plugin`` alone, running ``files``, which are below ``top``; ``log`` gets its output.

    It is killed when the block is left, or when this thread ends.
    """
    ours, theirs = socket.socketpair()
    with ours, open(log, "ab") as output:
        with theirs:
            pytest = Pytest(ours, _start(plugin, files, top, theirs.fileno(), output))
        try:
            yield pytest
        finally:
            pytest.kill()


def how_it_ended(code: int) -> str:
    """``was killed by signal 9``."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def last(log: Path) -> list[str]:
    """The last lines of what it printed."""
    return log.read_text(errors="replace").splitlines()[-LAST_LINES:]


def names_not_in(known: Container[str], files: Sequence[Path], top: Path) -> list[str]:
    """The names that pytest gives to ``files``, without those that are known."""
    names = (path.relative_to(top).as_posix() for path in files)
    return [name for name in names if name not in known]


def _start(
    plugin: str, files: Sequence[Path], top: Path, number: int, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-B", "-P", "-m", "pytest", *OPTIONS),
        *(f"-pno:{name}" for name in WITHOUT),
        *("-p", plugin, f"--rootdir={top}", f"--confcutdir={top}"),
        *(f"--tests-modules={folder}" for folder in _folder_of_modules(files)),
        *(f"--tests-socket={number}", f"--tests-starter={os.getpid()}"),
        *map(str, files),
    ]
    return subprocess.Popen(
        command,
        cwd=top,
        env=_environment(),
        pass_fds=(number,),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # Whoever presses Ctrl-C means this process, which then ends that one.
        start_new_session=True,
    )


def _folder_of_modules(files: Sequence[Path]) -> tuple[Path, ...]:
    """Where tests may import modules from. Of two folders, one's modules would be taken for the other's."""
    folders = {path.parent for path in files}
    return tuple(folders) if len(folders) == 1 else ()


def _environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "PY_"))
    }
    return {**kept, "PYTHONPATH": str(PACKAGES), "PYTHONUTF8": "1"}
