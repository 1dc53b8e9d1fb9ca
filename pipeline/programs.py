"""The one place that runs programs of this machine (programs of an image run in ``pipeline.chroot``)."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.errors import MachineError, PipelineError

LAST_LINES = 20


class ProgramError(PipelineError):
    """A program ended with an exit code other than 0. ``output`` holds all that it printed."""

    def __init__(self, argv: Sequence[str], exit_code: int, output: str, cwd: Path | None) -> None:
        lines = "\n".join("  | " + line for line in output.splitlines()[-LAST_LINES:])
        paste = shlex.join(argv)
        super().__init__(
            f"{argv[0]} ended with exit code {exit_code}" + (f"\n{lines}" if lines else ""),
            command=f"cd {shlex.quote(str(cwd))} && {paste}" if cwd else paste,
        )
        self.output = output
        self.program_exit_code = exit_code


class Ended(msgspec.Struct, frozen=True):
    """A program that ended, and what it said in English."""

    exit_code: int
    out: str
    err: str


def find(program: str, package: str | None = None) -> str:
    """The path of ``program``, or exit 3 with the package that brings it."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise MachineError(
            f"the program {program!r} is missing on this machine",
            hint=f"install the package {package or program}",
            command="make setup",
        )
    return path


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run ``argv`` and return its stdout and stderr, as they came; ``on_line`` sees each line at once.

    ``env`` is added to this process's environment. Raises ``ProgramError`` when the exit code is not 0.
    """
    import sh  # 0.17 s: only where a program is really run

    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        if on_line is not None:
            on_line(line.rstrip("\n"))

    command = sh.Command(find(argv[0]))
    try:
        command(
            *argv[1:],
            _cwd=str(cwd) if cwd else None,
            _env={**os.environ, **(env or {})},
            _in=stdin if stdin is not None else "",
            _out=keep,
            _err_to_out=True,
            _tty_out=False,
            _decode_errors="replace",
        )
    except sh.ErrorReturnCode as error:
        raise ProgramError(argv, error.exit_code, "".join(lines), cwd) from None
    return "".join(lines)


def ask(argv: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
    """Run ``argv``, whose exit code and both outputs are an answer. It has no terminal to ask anybody on."""
    import subprocess

    ended = subprocess.run(
        [find(argv[0]), *argv[1:]],
        input=stdin.encode(),
        capture_output=True,
        check=False,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
    )
    out, err = (text.decode(errors="replace").replace("\r\n", "\n") for text in (ended.stdout, ended.stderr))
    return Ended(ended.returncode, out, err)
