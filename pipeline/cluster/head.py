"""Running programs and keeping files on the head node: on this machine, or over ssh."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

import msgspec

from pipeline.errors import MachineError

SSH_FAILED = 255
"""What ssh(1) ends with when it is itself that failed."""

NOT_FOUND = 127
"""What a shell ends with when it finds no such program."""


ON_FILE = """
command -v "$0" > /dev/null || exit 127
file=$(mktemp) || exit 126
trap 'rm -f -- "$file"' EXIT
trap 'exit 129' HUP INT TERM
cat > "$file" && "$0" "$@" "$file" < /dev/null
"""
"""For a shell: run a program (``$0``) with arguments and, as the last one, a file that has what stdin has."""


class Ran(msgspec.Struct, frozen=True):
    """How a program on the head node ended. Output that is no UTF-8 has replacement characters."""

    code: int
    out: str
    err: str


class Head(msgspec.Struct, frozen=True):
    """The head node. ``address`` is what ssh takes (``root@head``, ``ssh://head:2222``); empty: this machine.

    ``root`` is where its files are seen when it is this machine: ``/``, or the lab's directory. ``programs``
    are directories in which its programs are looked for first. ``connect_seconds`` limits connecting.
    """

    address: str = ""
    root: str = "/"
    programs: tuple[str, ...] = ()
    connect_seconds: int = 10
    ssh_options: tuple[str, ...] = ()

    def run(self, argv: Sequence[str], stdin: str = "", *, seconds: float | None = None) -> Ran:
        """Run a program there with ``stdin``; ``seconds`` limits it.

        Raises ``MachineError`` when the program isn't there, the head node can't be reached, or time is over.
        """
        return self._run(argv, stdin, seconds, argv[0], by_shell=bool(self.address))

    def run_file(self, argv: Sequence[str], content: str, *, seconds: float | None = None) -> Ran:
        """Run a program there on a file with ``content``, whose name becomes the last argument.

        The file is nobody else's to read, and is removed when the program ends, or the connection does.
        """
        return self._run(("sh", "-c", ON_FILE, *argv), content, seconds, argv[0], by_shell=True)

    def _run(
        self, argv: Sequence[str], stdin: str, seconds: float | None, program: str, *, by_shell: bool
    ) -> Ran:
        """Run ``argv``; ``program`` is what messages call it, ``by_shell`` that a shell looks for it."""
        try:
            done = subprocess.run(
                self._command(argv),
                input=stdin.encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
                env={**os.environ, "PATH": self._path(), "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise self._missing("ssh" if self.address else program) from None
        except subprocess.TimeoutExpired:
            raise MachineError(
                f"{program} did not end within {seconds:.0f} s",
                where=self.label,
                hint="is the head node well?",
            ) from None
        ran = Ran(done.returncode, _text(done.stdout), _text(done.stderr))
        if self.address and ran.code == SSH_FAILED:
            raise MachineError(
                f"the head node {self.address} could not be reached: {ran.err.strip() or 'ssh said nothing'}",
                hint="the site file's [head] says where it is; ssh must get there without a password",
                command=shlex.join(self._ssh("true")),
            )
        if ran.code == NOT_FOUND and by_shell:
            raise self._missing(program)
        return ran

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"head node {self.address}" if self.address else "head node"

    def _path(self) -> str:
        return ":".join((*self.programs, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

    def _command(self, argv: Sequence[str]) -> Sequence[str]:
        if self.address:
            path = ":".join((*map(shlex.quote, self.programs), '"$PATH"', "/usr/sbin", "/sbin"))
            return self._ssh(f"PATH={path} LC_ALL=C exec {shlex.join(argv)}")
        program = shutil.which(argv[0], path=self._path())
        return [program or argv[0], *argv[1:]]

    def _ssh(self, command: str) -> Sequence[str]:
        options = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={self.connect_seconds}", *self.ssh_options)
        return ["ssh", *options, "--", self.address, command]

    def _missing(self, program: str) -> MachineError:
        return MachineError(
            f"the program {program!r} is missing",
            where=self.label,
            hint="the site file's [head] says where its programs are",
        )


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
