"""Running programs and keeping files on the head node: on this machine, or over ssh."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

import msgspec

from pipeline.errors import MachineError

SSH_FAILED = 255
"""What ssh(1) ends with when it is itself that failed."""

ALIVE_SECONDS = 5
ALIVE_COUNT = 3

NOT_FOUND = 127
"""What a shell ends with when it finds no such program."""


BEGUN = "@pipeline: begun"
"""Over ssh, what stands on stderr before it is the connection's: a banner, warnings of ssh, a login shell."""

ON_FILE = """
size=$1; shift
command -v "$1" > /dev/null || exit 127
file=$(mktemp) || exit 126
trap 'rm -f -- "$file"' EXIT
trap 'exit 129' HUP INT TERM
head -c "$size" > "$file" && [ "$(stat -c %s -- "$file")" = "$size" ] || exit 126
exec 3<&0
"$@" "$file" < /dev/null 3<&- &
program=$!
trap '' PIPE
(
    trap - EXIT HUP INT TERM
    while read -r _ <&3; do :; done
    kill "$program"; sleep 1; kill -9 "$program"
) > /dev/null 2>&1 &
watcher=$!
wait "$program"
code=$?
kill "$watcher" 2> /dev/null
exit "$code"
"""
"""For a shell: run a program with arguments and, as the last one, a file with stdin's first ``$1`` bytes.

Stdin stays open as long as somebody waits for the program: when it ends, with a killed process or with the
connection, the program is ended as well.
"""

ENDING_SECONDS = 3.0
"""How long a program that is ended may take to put its things in order."""


class ProgramError(MachineError):
    """A program of the head node is missing, or did not end in time; the head node itself may be well."""


class Ran(msgspec.Struct, frozen=True):
    """How a program on the head node ended. Output that is no UTF-8 has replacement characters."""

    code: int
    out: str
    err: str


class Head(msgspec.Struct, frozen=True):
    """The head node. ``address`` is what ssh takes (``root@head``, ``ssh://head:2222``); empty: this machine.

    ``root`` is where its files are seen when it is this machine: ``/``, or the lab's directory. ``programs``
    are directories in which its programs are looked for first. ``connect_seconds`` limits connecting,
    ``answer_seconds`` is for whoever calls a program that only reads. A connection on which nothing is heard
    for ``ALIVE_SECONDS`` times ``ALIVE_COUNT`` is given up, however long a program may take.
    """

    address: str = ""
    root: str = "/"
    programs: tuple[str, ...] = ()
    connect_seconds: int = 10
    answer_seconds: float = 300
    ssh_options: tuple[str, ...] = ()

    def run(self, argv: Sequence[str], stdin: str = "", *, seconds: float | None = None) -> Ran:
        """Run a program there with ``stdin``; ``seconds`` limits it.

        Raises ``MachineError`` when the program isn't there, the head node can't be reached, or time is over.
        """
        return self._run(argv, stdin, seconds, argv[0], by_shell=bool(self.address))

    def run_file(self, argv: Sequence[str], content: str, *, seconds: float | None = None) -> Ran:
        """Run a program there on a file with ``content``, whose name becomes the last argument.

        The file is nobody else's to read, and is removed when the program ends. The program is ended when
        this process or the connection does: of a line that was cut, the head node's sshd has to notice.
        """
        size = str(len(content.encode()))
        command = ("sh", "-c", ON_FILE, "sh", size, *argv)
        return self._run(command, content, seconds, argv[0], by_shell=True, hold=True)

    def _run(
        self,
        argv: Sequence[str],
        stdin: str,
        seconds: float | None,
        program: str,
        *,
        by_shell: bool,
        hold: bool = False,
    ) -> Ran:
        """Run ``argv``; ``program`` is what messages call it, ``by_shell`` that a shell looks for it.

        ``hold`` says that stdin stays open until it has ended.
        """
        try:
            ran = _ended(
                self._command(argv),
                stdin.encode(),
                {**os.environ, "PATH": self._path(), "LC_ALL": "C"},
                seconds,
                hold=hold,
            )
        except FileNotFoundError:
            raise self._missing("ssh" if self.address else program) from None
        except subprocess.TimeoutExpired:
            raise ProgramError(
                f"{program} did not end within {seconds:.0f} s",
                where=self.label,
                hint="is the head node well?",
            ) from None
        said_before, begun, said = ran.err.partition(f"{BEGUN}\n")
        ran = msgspec.structs.replace(ran, err=said if begun else said_before)
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
            return self._ssh(f"echo {BEGUN} >&2; PATH={path} LC_ALL=C exec {shlex.join(argv)}")
        program = shutil.which(argv[0], path=self._path())
        return [program or argv[0], *argv[1:]]

    def _ssh(self, command: str) -> Sequence[str]:
        options = (
            "BatchMode=yes",
            f"ConnectTimeout={self.connect_seconds}",
            f"ServerAliveInterval={ALIVE_SECONDS}",
            f"ServerAliveCountMax={ALIVE_COUNT}",
        )
        words = [word for option in options for word in ("-o", option)]
        return ["ssh", *words, *self.ssh_options, "--", self.address, command]

    def _missing(self, program: str) -> MachineError:
        return ProgramError(
            f"the program {program!r} is missing",
            where=self.label,
            hint="the site file's [head] says where its programs are",
        )


def _ended(
    command: Sequence[str], stdin: bytes, env: Mapping[str, str], seconds: float | None, *, hold: bool
) -> Ran:
    """Run ``command`` in a process group of its own, of which nothing is left when this is left."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, process_group=0) as process:
        held = process.stdin if hold else None
        try:
            if held is not None:
                # All of it is taken before anything is printed, so neither waits for the other.
                with contextlib.suppress(BrokenPipeError):
                    held.write(stdin)
                    held.flush()
                process.stdin = None
            out, err = process.communicate(None if hold else stdin, timeout=seconds)
        except BaseException:
            _end(process)
            raise
        finally:
            if held is not None:
                with contextlib.suppress(BrokenPipeError):
                    held.close()
    return Ran(process.returncode, _text(out), _text(err))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: first so that it can put its things in order."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_SECONDS)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
